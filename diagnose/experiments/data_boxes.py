"""Whether the boxes of images stay behind where an augmentation mirrors the image: items of the training set are read more than once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from diagnose.experiments.data_copies import copied, generators_kept
from diagnose.experiments.data_reading import fields_of
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.data_turned import CHANNELS, FEWEST, TURNS
from diagnose.experiments.sandbox import random_state_kept
from diagnose.namespace import is_combined

SECONDS = 0.3  # for all readings
ITEMS, AGAIN, ENOUGH = 256, 3, 48  # items that are read, readings of each besides the first, and mirrored ones after which to stop
IDLE = 16  # items of which none was mirrored, after which to stop
SIDE = 32
ALIKE, CLEARER, APART = 0.9, 0.2, 0.01  # of a turn: its correlation, its distance from 1 over the next one's, and that one's at least
LEAST, MOST = 16, 4096  # rows of a field
PLACES = 8  # values that each coordinate takes at least
SLACK = 0.002  # of the image's side, by which a box may stand out
CHANCE = 1e-4  # that numbers of such columns, dealt anew, would all be boxes
AWAY, STAYS = 0.1, 0.25  # of the image's side, by which a mirror moves a box; and share of that which is no move

Along = Callable[[Tensor], Tensor]
FORMS: dict[str, tuple[Along, Along, Callable[[Tensor, Tensor], Tensor]]] = {  # along one side: bounds of the second number, the middle
    "x0, y0, x1, y1": (lambda a: a, torch.ones_like, lambda a, b: (a + b) / 2),
    "cx, cy, w, h": (torch.zeros_like, lambda a: 2 * torch.minimum(a, 1 - a), lambda a, b: a),
    "x, y, w, h": (torch.zeros_like, lambda a: 1 - a, lambda a, b: a + b / 2),
}
AXES = {"mirrored left to right": (0,), "mirrored top to bottom": (1,), "turned by 180 degrees": (0, 1)}


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One item as the loader gives it alone: its small pictures, the first one's width and height, and its rows of four numbers."""

    pictures: dict[str, Tensor]
    size: Tensor
    rows: dict[str, Tensor]


def left_behind(sample: Sample, loaders: Any, seconds: float = SECONDS) -> dict[str, Any] | None:
    """In how many items that come mirrored in a later reading the boxes stay where they were.

    A field holds boxes by its numbers: rows of four which in all rows lie in the image, in one of the `FORMS`, in pixels or as shares; and
    which would hardly all do so if the numbers of each column were dealt anew among the rows. Numbers with one sum (shares of a whole),
    and those that only rise or only fall (quantiles), are none. Items are read through a copy of the data set, each as a batch of its own.

    Returns:
        ``input``, ``path``, ``form``, ``unit`` (``pixels`` or ``shares``), ``rows`` looked at, and ``mirrors``: turn → ``items`` that are
        turned so in a later reading and whose boxes a mirror would move clearly, and ``left``, how many of them have boxes that stay.
        ``None`` where no field holds boxes.
    """
    loaders = loaders.iterables if is_combined(loaders) else loaders
    last = [parts[0].shape for parts in sample.fields.values()]
    if not any(len(s) > 1 and s[-1] == 4 for s in last) or not any(len(s) > 2 and sorted(s)[-2] >= FEWEST for s in last):
        return None
    if not isinstance(loaders, DataLoader) or loaders.batch_sampler is None or isinstance(loaders.dataset, IterableDataset):
        return None
    try:
        with random_state_kept(), generators_kept(loaders):
            first, pairs = _read(sample, loaders, time.monotonic() + seconds)
    except Exception:  # a collate function may want more than one item
        return None
    found: list[tuple[int, dict[str, Any]]] = []
    for path in first[0].rows if first else ():
        rows, sizes = _rows(sample, first, path)
        pixels = not float(rows.max()) <= 1 + SLACK
        form = boxes(rows / sizes.repeat(1, 2) if pixels else rows)
        if form is not None:
            mirrors = _stay(pairs, path, form, pixels)
            about = {"form": form, "unit": "pixels" if pixels else "shares", "rows": len(rows), "mirrors": mirrors}
            found.append((sum(m["left"] for m in mirrors.values()), {"input": next(iter(first[0].pictures)), "path": path, **about}))
    return max(found, key=itemgetter(0), default=(0, None))[1]


def _read(sample: Sample, loader: DataLoader[Any], deadline: float) -> tuple[list[_Reading], list[tuple[str, _Reading, _Reading]]]:
    """The first reading of each item, and of the items that came mirrored later the turn, the first and the later reading."""
    numbers = sorted({row for rows in sample.rows for row in rows})
    dataset, collate = copied((loader.dataset, loader.collate_fn), "the data set", share=loader.dataset)
    fetch = getattr(dataset, "__getitems__", None)

    def read(number: int) -> _Reading | None:
        return _reading(fields_of(collate(fetch([number]) if fetch else [dataset[number]])))

    first: list[_Reading] = []
    pairs: list[tuple[str, _Reading, _Reading]] = []
    for place in torch.linspace(0, len(numbers) - 1, min(ITEMS, len(numbers))).long().tolist():
        if len(pairs) >= ENOUGH or (len(first) >= IDLE and not pairs) or time.monotonic() > deadline:
            break
        one = read(numbers[place])
        if one is None:
            continue
        first.append(one)
        for _ in range(AGAIN):
            if time.monotonic() > deadline:
                break
            other = read(numbers[place])
            turn = _turn(one, other) if other is not None else None
            if other is not None and turn in AXES:
                pairs.append((str(turn), one, other))
                break
    return first, pairs


def _reading(fields: list[tuple[str, Tensor]]) -> _Reading | None:
    pictures = {path: found for path, tensor in fields if (found := _picture(tensor)) is not None}
    if not pictures:
        return None
    height, width = next(iter(pictures.values())).shape[1:]
    rows = {p: t.reshape(-1, 4).double() for p, t in fields if t.dim() > 0 and t.shape[-1] == 4 and p not in pictures}
    small = {p: _small(t) for p, t in pictures.items() if t.shape[1:] == (height, width)}
    return _Reading(small, torch.tensor([width, height], dtype=torch.double), rows)


def _picture(tensor: Tensor) -> Tensor | None:
    """As channels, height and width; ``None`` where it is no picture."""
    while tensor.dim() > 2 and len(tensor) == 1:
        tensor = tensor[0]
    tensor = tensor[None] if tensor.dim() == 2 else tensor
    if tensor.dim() != 3:
        return None
    tensor = tensor.permute(2, 0, 1) if tensor.shape[2] <= 4 else tensor
    return tensor if len(tensor) <= CHANNELS and min(tensor.shape[1:]) >= FEWEST else None


def _small(picture: Tensor) -> Tensor:
    """Of at most 32 pixels a side, without the mean of its channels, of length one; zeros where there is nothing else."""
    size = [min(SIDE, s) for s in picture.shape[1:]]
    small: Tensor = F.interpolate(picture.double().nan_to_num(posinf=0.0, neginf=0.0)[None], size=size, mode="area")[0]
    small = small - small.mean((1, 2), keepdim=True)
    return small / float(small.norm().clamp(min=1e-9))


def _turn(one: _Reading, other: _Reading) -> str | None:
    """The turn that makes the pictures of one reading those of the other; ``None`` where it is not plain, or not the same for all."""
    if not torch.equal(one.size, other.size) or one.pictures.keys() != other.pictures.keys():
        return None
    turns = set()
    for before, after in zip(one.pictures.values(), other.pictures.values(), strict=True):
        best, second = torch.stack([(turn(before) * after).sum() for turn in TURNS.values()]).sort(descending=True)[0][:2].tolist()
        if best >= ALIKE and 1 - second >= APART and 1 - best <= CLEARER * (1 - second):
            turns.add(next(name for name, turn in TURNS.items() if float((turn(before) * after).sum()) == best))
    return turns.pop() if len(turns) == 1 else None


def _rows(sample: Sample, first: list[_Reading], path: str) -> tuple[Tensor, Tensor]:
    """Rows of a field, without padding (four equal numbers), and the width and height of the image of each."""
    given = [(r.rows[path], r.size) for r in first if path in r.rows]
    rows, sizes = torch.cat([r for r, _ in given]), torch.cat([s.expand(len(r), 2) for r, s in given])
    whole = sample.of(path)
    if whole is not None and whole.shape[-1:] == (4,) and len({tuple(s.tolist()) for _, s in given}) == 1:
        rows = whole.reshape(-1, 4).double()
        sizes = given[0][1].expand(len(rows), 2)
    filled = _filled(rows)
    rows, sizes = rows[~filled], sizes[~filled]
    places = torch.linspace(0, len(rows) - 1, min(MOST, len(rows))).long()
    return (rows[places], sizes[places]) if len(rows) else (torch.zeros(1, 4).double(), torch.ones(1, 2).double())


def _filled(rows: Tensor) -> Tensor:
    return (rows == rows[:, :1]).all(1)


def boxes(rows: Tensor) -> str | None:
    """Which of the `FORMS` the rows have, of shape (n, 4) and as shares of the image; ``None`` where they are no boxes.

    >>> corner, side = torch.rand(2, 64, 2, generator=torch.Generator().manual_seed(0)) / 2
    >>> boxes(torch.cat([corner, corner + side], 1)), boxes(torch.cat([corner, side], 1)), boxes(torch.cat([side, corner], 1) / 2)
    ('x0, y0, x1, y1', None, None)
    """
    if len(rows) < LEAST or not torch.isfinite(rows).all() or min(len(torch.unique(rows[:, c])) for c in (0, 1)) < PLACES:
        return None
    sums, steps = rows.sum(1), rows.diff(dim=1)
    if float(sums.max() - sums.min()) < SLACK or float(sums.max()) <= 1 + SLACK or (steps >= 0).all() or (steps <= 0).all():
        return None
    likely = {name: _likely(rows, least(rows[:, :2]), most(rows[:, :2]) + SLACK) for name, (least, most, _) in FORMS.items()}
    name = min(likely, key=likely.__getitem__)
    return name if likely[name] <= math.log(CHANCE) else None


def _likely(rows: Tensor, least: Tensor, most: Tensor) -> float:
    """Logarithm of how likely all rows are boxes where the numbers of each column are dealt anew; 0 where not all rows are boxes."""
    starts, ends = rows[:, :2], rows[:, 2:]
    if not bool(((starts >= -SLACK) & (ends > least) & (ends <= most)).all()):
        return 0.0
    order = ends.T.contiguous().sort()[0]
    low, high = (torch.searchsorted(order, edge.T.contiguous(), right=True) for edge in (least, most))
    return len(rows) * float(((high - low).clamp(min=0).double().mean(1) / len(rows)).log().sum())


def _stay(pairs: list[tuple[str, _Reading, _Reading]], path: str, form: str, pixels: bool) -> dict[str, dict[str, int]]:
    """Turn → how many items have boxes that it would move clearly, and in how many of them these stay."""
    found: dict[str, dict[str, int]] = {}
    for turn, stays in _judged(pairs, path, form, pixels):
        kind = found.setdefault(turn, {"items": 0, "left": 0})
        kind["items"] += 1
        kind["left"] += stays
    return found


def _judged(pairs: list[tuple[str, _Reading, _Reading]], path: str, form: str, pixels: bool) -> Iterator[tuple[str, bool]]:
    for turn, one, other in pairs:
        before, after = (r.rows.get(path, torch.empty(0, 4)) for r in (one, other))
        if before.shape != after.shape:
            continue
        kept = ~(_filled(before) | _filled(after))
        scale = one.size.repeat(2) if pixels else torch.ones(4)
        before, after = before[kept] / scale, after[kept] / scale
        middle = FORMS[form][2](before[:, :2], before[:, 2:])
        away = (1 - 2 * middle).abs()[:, list(AXES[turn])].amax(1)
        clear = away >= AWAY
        if bool(clear.any()):
            yield turn, bool(((after - before).abs().amax(1) <= STAYS * away)[clear].all())
