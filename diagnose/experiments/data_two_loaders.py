"""Whether inputs and targets come of two loaders, of which each shuffles its rows on its own."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from diagnose.experiments.data_roles import Roles
from diagnose.experiments.loaders import rows
from diagnose.namespace import is_combined


def two_loaders(loaders: Any, parts: Roles) -> dict[str, Any] | None:
    """The order in which loaders that give one batch together draw their rows.

    Returns:
        ``target`` and ``input`` (paths), ``rows`` that each of their loaders has, ``apart``: whether the loaders shuffle, at least one of
        them, and no generators of one state give them the same order. ``None`` where the target's loader gives inputs as well, or the
        loaders have other numbers of rows.
    """
    loaders = loaders.iterables if is_combined(loaders) else loaders
    if not isinstance(loaders, (dict, list, tuple)) or parts.target is None or "target" in parts.guessed or not parts.inputs:
        return None
    named = loaders.items() if isinstance(loaders, dict) else enumerate(loaders)
    by_path = {f'batch["{key}"]' if isinstance(key, str) else f"batch[{key}]": loader for key, loader in named}
    own = _of(by_path, parts.target)
    others = [other for path in parts.inputs if (other := _of(by_path, path)) is not None and other is not own]
    if own is None or len(others) < len(parts.inputs):
        return None
    if len({rows(loader) for loader in (own, *others)}) != 1 or rows(own) is None:
        return None
    apart = any(_apart(own, other) for other in others)
    return {"input": parts.inputs[0], "target": parts.target, "rows": rows(own), "apart": apart}


def _of(by_path: dict[str, Any], path: str) -> DataLoader[Any] | None:
    """The loader that gives a field of the batch."""
    loader = next((loader for start, loader in by_path.items() if path.startswith(start)), None)
    return loader if isinstance(loader, DataLoader) else None


def _apart(one: DataLoader[Any], other: DataLoader[Any]) -> bool:
    first, second = one.sampler, other.sampler
    if not all(isinstance(s, (RandomSampler, SequentialSampler)) for s in (first, second)) or first is second:
        return False
    if not isinstance(first, RandomSampler) or not isinstance(second, RandomSampler):
        return isinstance(first, RandomSampler) or isinstance(second, RandomSampler)
    if first.generator is None or second.generator is None or first.generator is second.generator:
        return True
    return not torch.equal(first.generator.get_state(), second.generator.get_state())
