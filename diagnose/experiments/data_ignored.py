"""Whether the number that pads the targets, and that the loss ignores, is a class of its own as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.data_fields import CLASSIFICATION
from diagnose.experiments.data_padding import at_ends, by_place
from diagnose.experiments.data_sample import Sample

SEVERAL = 10  # values of an input, more than the signs for the begin and the end of a sequence are


def ignored(train: Sample, path: str, loss: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How often a sequence holds the ignored class where padding cannot be.

    That is at places between targets that are scored; or, where an input of integers is padded at the same places, at all others, if the
    input has several values there. Of the former, a place where an input, too, has that number, there or at the next place, is not counted:
    a separator, or the padding of a text whose next word is the target. Nor are places of a text whose words are to be told.

    Returns:
        ``value`` (``ignore_index``), ``inside`` and ``ends`` (such places, and others that have it) and ``share`` (of such places among
        these and the scored ones). ``None`` where the loss ignores no class, or there are none inside.
    """
    value = (loss or {}).get("ignore_index")
    if loss is None or loss["kind"] not in CLASSIFICATION or value is None or not 0 <= value < loss["classes"]:
        return None
    if any(part.dim() != 2 or part.is_floating_point() for part in train.fields.get(path, ())):
        return None
    integers = [field for field, parts in train.fields.items() if not parts[0].is_floating_point() and parts[0].dtype is not torch.bool]
    words = [rows for field in integers if (rows := by_place(train, path, field))]
    if any(_vocabulary(rows, loss["classes"]) for rows in words):
        return None
    padded = next((pads for rows in words if (pads := _padded(rows, value)) is not None), None)
    inside = ends = scored = 0
    for place, (number, target) in enumerate(zip(train.batches.get(path, ()), train.fields.get(path, ()), strict=True)):
        hidden, known = target == value, (target != value) & (target >= 0) & (target < loss["classes"])
        if padded is None:
            own = hidden & (known.cumsum(1) > 0) & (known.flip(1).cumsum(1).flip(1) > 0) & ~_given(train, path, number, target, value)
        else:
            own = hidden & ~padded[place]
        inside += int(own.sum())
        ends += int((hidden & ~own).sum())
        scored += int(known.sum())
    return {"value": value, "inside": inside, "ends": ends, "share": inside / (inside + scored)} if inside else None


def _vocabulary(rows: list[tuple[Tensor, Tensor]], classes: int) -> bool:
    """Whether the targets may be words of the input: its values, more than those of a mask, are classes as well."""
    values = torch.cat([v.reshape(-1) for _, v in rows]).unique()  # type: ignore[no-untyped-call]
    return int(values.max()) < classes and len(values) > max(2, classes // 2)


def _padded(rows: list[tuple[Tensor, Tensor]], value: int) -> list[Tensor] | None:
    """The places of the input's padding, where all targets are ignored, if others are that show several values of the input."""
    padding = torch.cat([v[:, -1] for _, v in rows]).mode().values
    here = [v == padding for _, v in rows]
    if not all(map(at_ends, here)) or not all(bool((t == value)[h].all()) for (t, _), h in zip(rows, here, strict=True)):
        return None
    others = torch.cat([v[(t == value) & ~h] for (t, v), h in zip(rows, here, strict=True)]).unique()  # type: ignore[no-untyped-call]
    return here if any(bool(h.any()) for h in here) and len(others) >= SEVERAL else None


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
