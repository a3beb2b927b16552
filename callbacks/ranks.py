"""What the processes of a distributed training tell each other; the callbacks communicate here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

from diagnose.namespace import Trainer


def copies(trainer: Trainer) -> int:
    """How many processes get the same batches: more than one under tensor parallelism."""
    sampling: dict[str, Any] = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    return trainer.world_size // int(sampling.get("num_replicas", trainer.world_size))


def anywhere(trainer: Trainer, flags: Sequence[bool]) -> list[bool]:
    """Which of the flags are set in any process; one number per flag is exchanged."""
    if trainer.world_size == 1:
        return list(flags)
    mine = torch.tensor([float(flag) for flag in flags], device=trainer.strategy.root_device)
    return [count > 0 for count in trainer.strategy.reduce(mine, reduce_op="sum").tolist()]


def gathered(trainer: Trainer, value: Any) -> list[Any]:
    """The value of each process in the order of their ranks."""
    if trainer.world_size == 1 or not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def summed(trainer: Trainer, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sums of all processes; a process without any still takes part, and gets none.

    Raises:
        RuntimeError: The processes hold sums of different sizes; it is raised in each of them.
    """
    if trainer.world_size == 1:
        return dict(sums)
    device = trainer.strategy.root_device
    flat = torch.cat([v.reshape(-1).double() for v in sums.values()]).to(device) if sums else torch.zeros(0, device=device)
    sizes = torch.tensor([len(flat), -len(flat) if sums else -(2**53)], device=device, dtype=torch.float64)
    longest, shortest = trainer.strategy.reduce(sizes, reduce_op="max").tolist()
    if longest + shortest:
        raise RuntimeError(f"the sums of the processes do not fit together: they have from {-shortest:.0f} to {longest:.0f} numbers")
    flat = flat if sums else torch.zeros(int(longest), dtype=torch.float64, device=device)
    total = trainer.strategy.reduce(flat, reduce_op="sum") / copies(trainer)
    parts = total.split([v.numel() for v in sums.values()]) if sums else ()
    return {name: part.reshape(value.shape) for (name, value), part in zip(sums.items(), parts, strict=True)}


@dataclass(eq=False)
class Share:
    """How many of the samples that one rank gets from a ``DistributedSampler`` are its own; the rest repeat those of others.

    Attributes:
        batch: Samples per batch.
        total: Samples that the rank gets.
        unique: The first of them, which no other rank gets.
        seen: Samples of the batches so far.
    """

    batch: int
    total: int
    unique: int
    seen: int = 0

    def own(self, rows: int) -> int:
        """How many of a batch's scored rows (samples, or tokens of samples, in their order) belong to this rank's own samples."""
        size = min(self.batch, self.total - self.seen)
        mine = min(max(self.unique - self.seen, 0), size)
        self.seen += size
        return rows // size * mine if size > 0 and rows % size == 0 else rows


def share_of(loader: Any) -> Share | None:
    """The share of this rank in a loader; ``None`` where its sampler repeats nothing, or is not known to."""
    sampler, batch = getattr(loader, "sampler", None), getattr(loader, "batch_size", None)
    if not isinstance(sampler, DistributedSampler) or sampler.drop_last or not batch:
        return None
    samples = len(sampler.dataset)  # type: ignore[arg-type]
    return Share(batch=batch, total=len(sampler), unique=len(range(sampler.rank, samples, sampler.num_replicas)))


def shares(trainer: Trainer, loaders: Any) -> dict[int, Share]:
    """The shares of this rank in one or several loaders, by their position; none in a single process."""
    if trainer.world_size == 1:
        return {}
    each = list(loaders.values()) if isinstance(loaders, Mapping) else loaders if isinstance(loaders, (list, tuple)) else [loaders]
    return {i: share for i, loader in enumerate(each) if (share := share_of(loader)) is not None}
