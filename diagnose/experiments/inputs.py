"""Keeps the inputs of the samples with the highest loss, small enough to stand in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diagnose.measure.losses import Predictions

SIDE = 80  # pixels of the longer side of an image
VALUES = 64  # of samples that are no images, the first are kept
WIDEST = 200  # columns of a table with names
CONTEXT = 16  # tokens that end with the one before the target


class WorstInputs:
    """The inputs of the ``most`` samples with the highest loss, over all batches of a loader.

    Args:
        most: How many.
        values: Numbers that are kept of samples that are no images.

    Attributes:
        kept: ``(loss, row, input)`` of each, in no order.
    """

    def __init__(self, most: int, values: int = VALUES) -> None:
        self.most = most
        self.values = values
        self.kept: list[tuple[float, int, Tensor]] = []
        self.rows = 0

    def add(self, batch: Any, found: Predictions) -> None:
        """Look at one batch; one whose inputs cannot be told from its predictions is passed over."""
        first, count = self.rows, len(found.target)
        self.rows += count
        if not self.most or not count or found.loss.shape != (count,):
            return
        loss = torch.nan_to_num(found.loss.detach().float().cpu(), nan=torch.inf)
        order = loss.argsort(descending=True, stable=True)[: self.most]
        lowest = min((entry[0] for entry in self.kept), default=-torch.inf) if len(self.kept) == self.most else -torch.inf
        chosen = [int(i) for i in order if float(loss[i]) > lowest or len(self.kept) < self.most]
        inputs = inputs_of(batch, found, torch.tensor(chosen, dtype=torch.long), self.values) if chosen else None
        if inputs is None:
            return
        self.kept += [(float(loss[i]), first + i, value) for i, value in zip(chosen, inputs, strict=True)]
        self.kept = sorted(self.kept, key=lambda entry: (-entry[0], entry[1]))[: self.most]

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
        """Rows and inputs, the highest loss first; images in 8 bits on a common scale. ``None`` where they have no common shape."""
        if not self.kept or len({value.shape for _, _, value in self.kept}) > 1:
            return None
        rows = np.array([row for _, row, _ in self.kept], dtype=np.int64)
        inputs = torch.stack([value for _, _, value in self.kept]).numpy()
        if inputs.ndim < 3:
            return rows, inputs
        known = inputs[np.isfinite(inputs)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        scaled = np.nan_to_num((inputs - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
        return rows, np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def inputs_of(batch: Any, found: Predictions, rows: Tensor, values: int = VALUES) -> Tensor | None:
    """The chosen rows of the first tensor of a batch that has a row per sample and is not the target.

    Args:
        batch: As the step gets it.
        found: What the step predicted for it.
        rows: Numbers of samples, shape ``(k,)``.
        values: Numbers that are kept of samples that are no images.

    Returns:
        Images of shape ``(k, channels, h, w)``, first values of shape ``(k, d)``, or tokens before the target of shape ``(k, CONTEXT)``,
        -1 before the first; ``None`` where no tensor fits.
    """
    count = len(found.target)
    for value in tensors(batch):
        if value.dim() > 1 and len(value) == count and not same(value, found.target):
            return small(value.detach()[rows.to(value.device)].cpu(), values)
        length = count // max(1, len(value)) if value.dim() == 2 and not value.is_floating_point() else 0
        if length and len(value) * length == count and value.shape[1] in (length, length + 1):
            padded = F.pad(value.detach().cpu().long(), (CONTEXT - 1, 0), value=-1)
            return torch.stack([padded[row // length, row % length : row % length + CONTEXT] for row in rows.tolist()])
    return None


def tensors(batch: Any) -> list[Tensor]:
    """The tensors of a batch, in its order."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        return [value for part in batch.values() for value in tensors(part)]
    if isinstance(batch, (list, tuple)):
        return [value for part in batch for value in tensors(part)]
    return [value for part in vars(batch).values() for value in tensors(part)] if hasattr(batch, "__dataclass_fields__") else []


def same(value: Tensor, target: Tensor) -> bool:
    """Whether a tensor of the batch is the target."""
    return value.shape == target.shape and bool((value.detach().cpu() == target.detach().cpu()).all())


def small(values: Tensor, most: int = VALUES) -> Tensor:
    """Images of at most `SIDE` pixels a side, of everything else the first ``most`` numbers of each."""
    image = values.dim() == 3 or (values.dim() == 4 and values.shape[1] in (1, 3))
    if not image or min(values.shape[-2:]) < 4 or values.is_complex():
        flat = values.flatten(1)[:, :most]
        return flat.float() if flat.is_floating_point() else flat.long()
    pictures = values.float() if values.dim() == 4 else values.float()[:, None]
    height, width = pictures.shape[-2:]
    shrink = max(1.0, max(height, width) / SIDE)
    size = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    return F.interpolate(pictures, size=size, mode="area") if shrink > 1 else pictures
