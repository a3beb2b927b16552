"""The samples of a batch that is no stack of rows: lists of a tensor per sample, or the parts of all samples below each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.batches import changed, leaves, size, take

FEWEST = 4  # samples, where nothing but lists tells of them


def count(batch: Any, *, crossed: bool = False) -> int | None:
    """Number of samples: `batches.size`, or that of lists with an entry per sample, or of an index that names the sample of each row.

    Args:
        batch: Any batch.
        crossed: Whether edges may join parts of several samples: `choose` can put samples in the place of others then, and no more.
    """
    n = size(batch)
    if n is None:
        n = _listed(batch)
    if n is None:
        owned = _owned(batch)
        n = None if owned is None or (owned.crossed and not crossed) else owned.samples
    return n


def choose(batch: Any, rows: Tensor) -> Any:
    """The batch of the given samples, in this order, some of them more than once; tensors without a sample axis are kept."""
    if size(batch) is not None:
        return take(batch, rows)
    n = _listed(batch)
    if n is None:
        owned = _owned(batch)
        return batch if owned is None else changed(batch, lambda t: owned.chosen(t, rows))
    return changed(
        batch,
        lambda t: t[rows.to(t.device)] if t.dim() > 0 else t,
        lambda part: type(part)(part[i] for i in rows.tolist()) if isinstance(part, (list, tuple)) and len(part) == n else part,
        lambda part: part is not batch and isinstance(part, (list, tuple)),
    )


def _listed(batch: Any) -> int | None:
    """The length that all lists of like entries in a batch share with the tensors beside them, ``None`` where there are none."""
    lists: list[Any] = []
    lengths: list[int] = []

    def look(part: Any) -> Any:
        lists.append(part)
        return part

    def beside(tensor: Tensor) -> Tensor:
        lengths.extend([len(tensor)] if tensor.dim() > 0 else [])
        return tensor

    changed(batch, beside, look, lambda part: part is not batch and isinstance(part, (list, tuple)))
    known = [part for part in lists if isinstance(part, (list, tuple)) and next(leaves(part), None) is not None]
    if not known or not all(type(part) in (list, tuple) and _alike(part) for part in known):
        return None
    found = {*lengths, *map(len, known)}
    n = found.pop() if len(found) == 1 else None
    return n if n is not None and (lengths or n >= FEWEST) else None


def _alike(part: Any) -> bool:
    """Whether the entries of a list are of one form: each holds as many tensors, of the same types and numbers of axes."""
    return len({tuple((path.partition("]")[2], t.dtype, t.dim()) for path, t in leaves(entry, "[]")) for entry in part}) == 1


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """A batch in which the parts of all samples stand below each other.

    Attributes:
        owner: The sample of each part, shape ``(parts,)``, rising from 0.
        samples: How many there are.
        crossed: Whether some edges join parts of several samples.
    """

    owner: Tensor
    samples: int
    crossed: bool = False

    def chosen(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """What a tensor of the batch is in the batch of these samples.

        Of edges that join several samples none can be left out: each sample keeps its number of parts and gets those of another over and
        over, and all edges stay.
        """
        counts = torch.bincount(self.owner.cpu(), minlength=self.samples)
        starts = counts.cumsum(0) - counts
        if self.crossed and (tensor is self.owner or self.inside(tensor)):
            return tensor
        if self.crossed and tensor.dim() > 0 and len(tensor) == len(self.owner):
            pairs = zip(rows.tolist(), counts.tolist(), strict=True)
            return tensor[torch.cat([starts[s] + torch.arange(size) % counts[s] for s, size in pairs]).to(tensor.device)]
        if tensor is self.owner:
            return torch.arange(len(rows)).repeat_interleave(counts[rows]).to(tensor)
        if tensor.dim() == 0:
            return tensor
        if self.joins(tensor):
            first = (counts[rows].cumsum(0) - counts[rows]).tolist()
            of = self.owner[tensor[0]].cpu()
            parts = [tensor[:, of == s] - starts[s] + at for s, at in zip(rows.tolist(), first, strict=True)]
            return torch.cat(parts, 1)
        if len(tensor) == self.samples:
            return tensor[rows.to(tensor.device)]
        parts = [torch.arange(int(starts[s]), int(starts[s] + counts[s])) for s in rows.tolist()]
        return tensor[torch.cat(parts).to(tensor.device)]

    def joins(self, tensor: Tensor) -> bool:
        """Whether a tensor holds the edges of graphs: pairs of parts of one sample, shape ``(2, edges)``."""
        return self.inside(tensor) and bool((self.owner[tensor[0]] == self.owner[tensor[1]]).all())

    def inside(self, tensor: Tensor) -> bool:
        """Whether a tensor holds pairs of parts, of one sample or of several, shape ``(2, edges)``."""
        if tensor.dim() != 2 or len(tensor) != 2 or tensor.is_floating_point() or tensor.dtype is torch.bool or not tensor.numel():
            return False
        return int(tensor.min()) >= 0 and int(tensor.max()) < len(self.owner)


def _owned(batch: Any) -> Owned | None:
    tensors = [t for _, t in leaves(batch) if t.dim() > 0]
    crossed: Owned | None = None
    for owner in tensors:
        if owner.dim() != 1 or owner.is_floating_point() or owner.dtype is torch.bool or len(owner) < 2 or int(owner[0]) != 0:
            continue
        steps, n = owner.diff(), int(owner[-1]) + 1
        if n < 2 or n == len(owner) or int(steps.min()) < 0 or int(steps.max()) > 1:
            continue
        found = Owned(owner, n)
        edges = [t for t in tensors if len(t) not in (n, len(owner))]
        if all(found.joins(t) for t in edges):
            return found
        if all(found.inside(t) for t in edges) and not any(t.shape == (n, n) for t in tensors):
            crossed = crossed or Owned(owner, n, crossed=True)
    return crossed
