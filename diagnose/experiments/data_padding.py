"""Whether the padding of sequences is scored: by the loss, or by validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.data_fields import CLASSIFICATION
from diagnose.experiments.data_sample import Sample

ALL = 0.999  # of the places of a value: so many are ignored in training


def padding(train: Sample, val: Sample, path: str, loss: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The value of an input at whose places training has no target and validation has one.

    Only of targets by place: of sequences, or of pixels. A value is that of a field of the shape of the target (tokens, an attention mask),
    or zero in all columns of a field with one more axis.

    Returns:
        ``path`` (of the field), ``value``, ``places`` (how many training places have it; 99.9 % or more of these are ignored), ``share``
        (of what validation scores, how much stands at such places), ``known`` (share of these places that validation scores), ``label``
        (what most of them have there) and ``agree`` (the share of them that have it). ``None`` where no value is ignored so, or training
        ignores all or nothing.
    """
    if loss is None or loss["kind"] not in CLASSIFICATION or path not in train.fields or path not in val.fields:
        return None
    found: dict[str, Any] | None = None
    for field in train.fields:
        own, theirs = _beside(train, path, field), _beside(val, path, field) if field != path else None
        if not own or not theirs:
            continue
        scored = torch.cat([_scored(t, loss) for t, _ in own])
        values = torch.cat([v for _, v in own])
        if bool(scored.all()) or not bool(scored.any()):
            continue
        value = values[~scored].mode().values
        here = values == value
        if float((~scored[here]).float().mean()) < ALL:
            continue
        target, held = torch.cat([t for t, _ in theirs]), torch.cat([v for _, v in theirs]) == value
        kept = torch.cat([_scored(t, loss) for t, _ in theirs])
        labels = target[held & kept]
        if not len(labels):
            continue
        label = labels.mode().values
        fact: dict[str, Any] = {"path": field, "value": float(value), "places": int(here.sum()), "share": len(labels) / int(kept.sum())}
        fact |= {"known": len(labels) / int(held.sum()), "label": int(label), "agree": float((labels == label).float().mean())}
        found = fact if found is None or fact["share"] > found["share"] else found
    return found


def counted(train: Sample, path: str, loss: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How much of what the loss scores is the padding of sequences that differ in length.

    Padding is a value of an input at the end of a row, and nowhere before, at whose places all targets are one class.

    Returns:
        ``path`` (of the input), ``value``, ``label``, ``places`` (how many) and ``share`` (of the targets that are scored). ``None`` where
        there is none, or it is ignored.
    """
    if loss is None or loss["kind"] not in CLASSIFICATION:
        return None
    for field in train.fields:
        rows = by_place(train, path, field)
        if not rows:
            continue
        value = torch.cat([v[:, -1] for _, v in rows]).mode().values
        here = [v == value for _, v in rows]
        lengths = torch.cat([h.sum(1) for h in here])
        target, padded = torch.cat([t.reshape(-1) for t, _ in rows]), torch.cat([h.reshape(-1) for h in here])
        labels = target[padded & _scored(target, loss)]
        alike = len(labels) == int(padded.sum()) and len(labels.unique()) == 1  # type: ignore[no-untyped-call]
        if alike and all(map(at_ends, here)) and len(lengths.unique()) > 1:  # type: ignore[no-untyped-call]
            share = len(labels) / int(_scored(target, loss).sum())
            return {"path": field, "value": float(value), "label": int(labels[0]), "places": len(labels), "share": share}
    return None


def filled(train: Sample, val: Sample, held: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How much of what the loss of validation scores is the padding of sequences that differ in length.

    Args:
        train: What training gives, whose rows have the value of the padding nowhere but at their ends either, if at all, and no class
            there but that of the padding.
        val: What validation gives.
        held: What the loss of validation takes for targets, see `loss_arguments.asked_of`.

    Returns:
        As `counted` does.
    """
    fact = counted(val, held["path"], held) if held is not None else None
    rows = by_place(train, held["path"], fact["path"]) if held is not None and fact is not None else []
    if held is None or fact is None or not rows:
        return None
    for target, values in rows:
        here = values == fact["value"]
        if not at_ends(here) or bool((_scored(target, held) & (target != fact["label"]))[here].any()):
            return None
    return fact


def by_place(sample: Sample, path: str, field: str) -> list[tuple[Tensor, Tensor]]:
    """Targets by place and the field's values there, shape ``(rows, places)`` each, of each batch; empty where they have another shape."""
    parts = sample.fields.get(path, [])
    if field == path or not parts or any(part.dim() != 2 for part in parts):
        return []
    pairs = _beside(sample, path, field)
    return [(t.reshape(part.shape), v.reshape(part.shape)) for (t, v), part in zip(pairs, parts, strict=bool(pairs))]


def at_ends(here: Tensor) -> bool:
    """Whether each row is true from some place on to its end, and nowhere before."""
    return bool((here == here.flip(1).int().cummin(1).values.flip(1).bool()).all())


def _scored(target: Tensor, loss: Mapping[str, Any]) -> Tensor:
    """Which targets the loss scores."""
    scored: Tensor = (target >= 0) & (target < loss["classes"]) & (target != loss.get("ignore_index", -100))
    for label in loss.get("weightless", ()):
        scored &= target != label
    return scored


def _beside(sample: Sample, path: str, field: str) -> list[tuple[Tensor, Tensor]]:
    """Targets by place and the field's values there, both flat, of the batches that have both; empty where their shapes do not match."""
    values = dict(zip(sample.batches.get(field, []), sample.fields.get(field, []), strict=True))
    pairs = []
    for number, target in zip(sample.batches[path], sample.fields[path], strict=True):
        given = values.get(number)
        if given is None or target.dim() < 2 or target.is_floating_point() or given.shape[: target.dim()] != target.shape:
            return []
        if given.dim() == target.dim() + 1 and given.is_floating_point():
            given = (given != 0).any(-1)  # a row of zeros
        if given.dim() != target.dim():
            return []
        pairs.append((target.reshape(-1), given.reshape(-1).float()))
    return pairs
