"""Batches as they come: nested dicts, tuples and dataclasses of tensors, taken apart and put together again."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
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


def changed(
    batch: Any,
    change: Callable[[Tensor], Tensor],
    rest: Callable[[Any], Any] = lambda part: part,
    whole: Callable[[Any], bool] = lambda part: False,
) -> Any:
    """The batch with ``change`` applied to each of its tensors, and ``rest`` to arrays, to lists without tensors and to ``whole`` parts."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, np.ndarray) or whole(batch) or (isinstance(batch, (list, tuple)) and next(leaves(batch), None) is None):
        return rest(batch)
    if isinstance(batch, Mapping):
        return _mapping(batch, {k: changed(v, change, rest, whole) for k, v in batch.items()})
    if isinstance(batch, tuple):
        return tuple.__new__(type(batch), [changed(v, change, rest, whole) for v in batch])  # also of subclasses with another __new__
    if isinstance(batch, list):
        new = copy.copy(batch)
        new[:] = [changed(v, change, rest, whole) for v in batch]
        return new
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        twin = copy.copy(batch)
        for f in dataclasses.fields(batch):
            object.__setattr__(twin, f.name, changed(getattr(batch, f.name), change, rest, whole))  # also of frozen ones
        return twin
    return batch


def _mapping(batch: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    if type(batch) is dict:
        return items
    if isinstance(batch, MutableMapping):
        new = copy.copy(batch)
        new.update(items)
        return new
    return type(batch)(items)  # type: ignore[call-arg]


def fresh(batch: Any) -> Any:
    """A copy of the batch that a step may change; what cannot be copied is shared."""
    try:
        return copy.deepcopy(batch)
    except Exception:
        return changed(batch, lambda t: t.detach().clone().requires_grad_(t.requires_grad))


def has_unknown(batch: Any) -> bool:
    """Whether the batch holds objects that are not looked into: neither tensors, arrays, texts, numbers nor containers of them."""
    if isinstance(batch, Mapping):
        return any(map(has_unknown, batch.values()))
    if isinstance(batch, (list, tuple)):
        return any(map(has_unknown, batch))
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return any(has_unknown(getattr(batch, f.name)) for f in dataclasses.fields(batch))
    return not isinstance(batch, (Tensor, np.ndarray, str, bytes, int, float, complex, type(None)))


def size(batch: Any) -> int | None:
    """Number of samples: the length that all tensors of the batch share, ``None`` where they share none."""
    lengths = {len(t) for _, t in leaves(batch) if t.dim() > 0}
    return lengths.pop() if len(lengths) == 1 else None


def take(batch: Any, rows: Tensor) -> Any:
    """The given rows of each tensor, and of each array or list (of names, of texts) with as many rows; scalars are kept."""
    n = size(batch)

    def rest(part: Any) -> Any:
        if not isinstance(part, np.ndarray):
            return [part[i] for i in rows.tolist()] if len(part) == n else part
        return part[rows.numpy()] if part.ndim and len(part) == n else part

    return changed(batch, lambda t: t[rows.to(t.device)] if t.dim() > 0 else t, rest)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same order, whatever their shape and dtype."""
    if a.numel() != b.numel():
        return False
    first, second = (torch.nan_to_num(t.detach().reshape(-1).double(), nan=-1.2345e300) for t in (a, b))  # NaN equals NaN here
    return bool(torch.equal(first, second))


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
