"""Batches as they come: nested dicts, tuples and dataclasses of tensors, taken apart and put together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def leaves(batch: Any, path: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch with their paths, such as ``batch[0]`` and ``batch["tokens"]``."""
    if isinstance(batch, Tensor):
        yield path, batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from leaves(value, f"{path}[{str(key)!r}]".replace("'", '"'))
    elif isinstance(batch, (list, tuple)):
        for index, value in enumerate(batch):
            yield from leaves(value, f"{path}[{index}]")
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for f in dataclasses.fields(batch):
            yield from leaves(getattr(batch, f.name), f"{path}.{f.name}")


def changed(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with ``change`` applied to each of its tensors; everything else is kept."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        items = {k: changed(v, change) for k, v in batch.items()}
        return items if type(batch) is dict else type(batch)(items)  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(changed(v, change) for v in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(changed(v, change) for v in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(batch, **{f.name: changed(getattr(batch, f.name), change) for f in dataclasses.fields(batch) if f.init})
    return batch


def size(batch: Any) -> int | None:
    """Number of samples: the length that all tensors of the batch share, ``None`` where they share none."""
    lengths = {len(t) for _, t in leaves(batch) if t.dim() > 0}
    return lengths.pop() if len(lengths) == 1 else None


def take(batch: Any, rows: Tensor) -> Any:
    """The given rows of each tensor; scalars are kept."""
    return changed(batch, lambda t: t[rows.to(t.device)] if t.dim() > 0 else t)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same order, whatever their shape and dtype."""
    return a.numel() == b.numel() and bool(torch.equal(a.detach().reshape(-1).double(), b.detach().reshape(-1).double()))


def roles(batch: Any, target: Tensor | None) -> dict[str, str]:
    """Which tensors of the batch are the loss's target, by value: path → ``"target"`` or ``"input"``; empty without a target.

    A batch of one tensor is its input even where it is the target as well (autoencoders, next-token models).
    """
    found = list(leaves(batch))
    if target is None:
        return {}
    hits = [path for path, tensor in found if same(tensor, target)]
    if not hits or len(hits) == len(found):
        return {path: "input" for path, _ in found}
    return {path: "target" if path in hits else "input" for path, _ in found}
