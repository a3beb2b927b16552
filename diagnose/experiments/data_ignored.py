"""Whether the number that pads the targets, and that the loss ignores, is a class of its own as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diagnose.experiments.data_fields import CLASSIFICATION
from diagnose.experiments.data_sample import Sample


def ignored(train: Sample, path: str, loss: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How often a sequence holds the ignored class between targets that are scored, where padding cannot be.

    A place where an input, too, has that number, there or at the next place, is not counted: a separator, or the padding of a text whose
    next word is the target.

    Returns:
        ``value`` (``ignore_index``), ``inside`` and ``ends`` (places that have it between scored ones, and before or after them) and
        ``share`` (of the places from the first scored one to the last). ``None`` where the loss ignores no class, or there are none inside.
    """
    value = (loss or {}).get("ignore_index")
    if loss is None or loss["kind"] not in CLASSIFICATION or value is None or not 0 <= value < loss["classes"]:
        return None
    inside = ends = scored = 0
    for number, target in zip(train.batches.get(path, ()), train.fields.get(path, ()), strict=True):
        if target.dim() != 2 or target.is_floating_point():
            return None
        hidden, known = target == value, (target != value) & (target >= 0) & (target < loss["classes"])
        between = hidden & (known.cumsum(1) > 0) & (known.flip(1).cumsum(1).flip(1) > 0)
        own = between & ~_given(train, path, number, target, value)
        inside += int(own.sum())
        ends += int((hidden & ~between).sum())
        scored += int(known.sum())
    return {"value": value, "inside": inside, "ends": ends, "share": inside / (inside + scored)} if inside else None


def _given(train: Sample, path: str, number: int, target: Tensor, value: int) -> Tensor:
    """Where an input of the target's shape has this number, there or at the next place."""
    given = target != target
    for name, parts in train.fields.items():
        part = next((p for n, p in zip(train.batches[name], parts, strict=True) if n == number), None)
        if name != path and part is not None and part.shape == target.shape:
            here = part == value
            given = given | here
            given[:, :-1] |= here[:, 1:]
    return given
