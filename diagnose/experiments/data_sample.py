"""What was read of a loader."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

ENOUGH = 8  # batches without which a sample that time cut short says nothing of the epoch


@dataclass(slots=True, eq=False)
class Sample:
    """What was read of one loader.

    Attributes:
        fields: Path → the tensors of that field, one per batch that has it; floats are float32 or wider.
        batches: Path → the numbers (in ``sizes``) of the batches that these tensors come from.
        sizes: Rows of each batch that was read.
        places: Which batch of the epoch each one was.
        rows: Rows of the data set in each batch, ``[]`` where they are not known.
        order: ``sequential``, ``random``, ``weighted``, ``custom`` (somebody's own sampler) or ``stream``.
        total: Rows in an epoch, ``None`` where that is not known.
        drawn: Share of the data set's rows that the first epoch of somebody's own sampler takes, ``None`` where that is not known.
        weights: Of a weighted order the weight of each row of the data set, shape ``(rows of the data set,)``, else ``None``.
        block: Consecutive batches that were read together.
        late: Whether time ran out before all that was wanted had been read.
    """

    fields: dict[str, list[Tensor]] = field(default_factory=dict)
    batches: dict[str, list[int]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    order: str = "custom"
    total: int | None = None
    drawn: float | None = None
    weights: Tensor | None = None
    block: int = 1
    late: bool = False

    @property
    def count(self) -> int:
        """Rows read."""
        return sum(self.sizes)

    @property
    def cut(self) -> bool:
        """Whether time ran out after so few batches that they may be unlike the rest."""
        return self.late and len(self.sizes) < ENOUGH

    @property
    def coverage(self) -> float | None:
        """Share of the epoch's rows that was read, ``None`` where the length is not known."""
        return min(1.0, self.count / self.total) if self.total else None

    def of(self, path: str) -> Tensor | None:
        """One field of all rows, shape ``(count, ...)``; ``None`` where batches lack it, differ in shape or have another length."""
        parts = self.fields.get(path, [])
        if not parts or len({p.shape[1:] for p in parts}) > 1 or [len(p) if p.dim() else -1 for p in parts] != self.sizes:
            return None
        return torch.cat(parts)
