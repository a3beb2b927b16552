"""Whether images and their targets by pixel are turned or mirrored apart from each other, as where an augmentation draws for each anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.experiments.data_sample import Sample

ROWS, SIDE, CLASSES, CHANNELS = 128, 48, 8, 16
LEAST = 32  # rows, without which a share says nothing
FEWEST = 8  # pixels of a side
TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda x: x,
    "mirrored left to right": lambda x: x.flip(-1),
    "mirrored top to bottom": lambda x: x.flip(-2),
    "turned by 180 degrees": lambda x: x.flip(-2, -1),
}
QUARTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "turned by 90 degrees": lambda x: x.rot90(1, (-2, -1)),
    "turned by 270 degrees": lambda x: x.rot90(-1, (-2, -1)),
}


def turned(sample: Sample, inputs: Sequence[str], path: str) -> dict[str, Any] | None:
    """How often the target of an image fits it better when it is turned or mirrored.

    What pixels of a class look like (their value, their neighbourhood's, and how much it changes there) is learned over all rows by a
    linear discriminant. A row's fit is how well its target goes with that in its own image. It is *known* where its target fits, in the
    best of all turns, better than that of the next row, and *turned* where it is known and what the turn gains is at least half of what
    the own target gains over the other one.

    Returns:
        ``input``, ``samples``, ``known`` and ``turned`` (shares of the samples; by chance ``known`` is one half), and ``most``: the turn
        that fits most of the turned. ``None`` where no field is an image of the target's height and width, or there are fewer than 32 rows.
    """
    target = sample.of(path)
    if target is None or target.dim() not in (3, 4) or len(target) < LEAST:
        return None
    height, width = target.shape[-2:]
    images = {name: sample.of(name) for name in inputs if name != path}
    fitting = {n: i for n, i in images.items() if i is not None and i.shape[2:] == (height, width) and i.shape[1] <= CHANNELS}
    kinds = _kinds(target[places := torch.linspace(0, len(target) - 1, min(ROWS, len(target))).long()])
    if not fitting or kinds is None or min(height, width) < FEWEST:
        return None
    name, image = next(iter(fitting.items()))
    return {"input": name, **_fits(_looks(image[places].float()), _small(kinds))}


def _kinds(target: Tensor) -> Tensor | None:
    """Of shape (rows, kinds, height, width): which of the commonest classes each pixel is of, or the values of channels."""
    if target.dim() == 4 and target.shape[1] > 1:
        return target.float() if target.shape[1] <= CHANNELS else None
    target = target.reshape(len(target), *target.shape[-2:])
    values, counts = torch.unique(target, return_counts=True)
    if len(values) < 2:
        return None
    if len(values) > 2 * CLASSES and target.is_floating_point():
        return target[:, None].float()
    common = values[counts.argsort(descending=True)[:CLASSES]]
    return torch.stack([target == v for v in common[1 if len(common) == 2 else 0 :]], 1).float()


def _small(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    side = min(SIDE, max(height, width))
    size = (max(8, round(side * height / max(height, width))), max(8, round(side * width / max(height, width))))
    return images if size == (height, width) else F.interpolate(images, size=size, mode="area")


def _looks(images: Tensor) -> Tensor:
    """What a pixel looks like, shape (rows, 3 x channels, height, width): its value, the mean around it, and the contrast there."""
    x = _small(images.nan_to_num())
    near = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    contrast = F.avg_pool2d((x - near).abs(), 3, 1, 1, count_include_pad=False)
    looks = torch.cat([x, near, contrast], 1)
    looks = looks - looks.mean((0, 2, 3), keepdim=True)
    return looks / looks.std((0, 2, 3), keepdim=True).clamp(min=1e-6)


def _fits(looks: Tensor, kinds: Tensor) -> dict[str, Any]:
    kinds = kinds - kinds.mean(0, keepdim=True)  # what stands where in most rows says nothing of one of them
    rows, features, height, width = looks.shape
    flat = looks.transpose(0, 1).reshape(features, -1)
    against = flat @ kinds.transpose(0, 1).reshape(kinds.shape[1], -1).T
    weights = torch.linalg.solve(flat @ flat.T + 1e-2 * rows * height * width * torch.eye(features), against)  # a ridge of a hundredth
    expected = torch.einsum("nfhw,fk->nkhw", looks, weights)
    turns = {**TURNS, **(QUARTERS if height == width else {})}
    own = torch.stack([(expected * turn(kinds)).mean((1, 2, 3)) for turn in turns.values()], 1)
    other = torch.stack([(expected * turn(kinds.roll(1, 0))).mean((1, 2, 3)) for turn in turns.values()], 1).amax(1)
    best = own.amax(1)
    known = best > other
    apart = known & (best - own[:, 0] >= 0.5 * (best - other)) & (best > own[:, 0])
    most = own[apart].argmax(1).mode().values if bool(apart.any()) else 0
    return {
        "samples": rows,
        "known": float(known.float().mean()),
        "turned": float(apart.float().mean()),
        "most": list(turns)[int(most)],
    }
