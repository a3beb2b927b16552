"""Which fields of a batch are inputs, and which one is the target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from diagnose.experiments import data_identity
from diagnose.experiments.data_sample import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """Which fields are inputs and which one is the target; ``guessed`` says which of the two nobody has told."""

    inputs: tuple[str, ...]
    target: str | None
    guessed: tuple[str, ...] = ()


def assign(sample: Sample, roles: Mapping[str, str], loss: Mapping[str, Any] | None) -> Roles:
    """The roles as told, completed by guesses."""
    paths = [p for p in sample.fields if p in roles]
    told = [p for p in paths if roles[p] == "target"]
    rest = [p for p in sample.fields if p not in told]
    if (
        told
        and rest
        and (_row_size(sample, told[0]) or 2) > 1
        and all(_is_label(sample, p) for p in rest)
        and told[0] == next(iter(sample.fields))
    ):
        return Roles((told[0],), None)  # the input is its own target, beside labels that the loss does not use
    if told:
        return Roles(tuple(p for p in sample.fields if p not in told and _is_feature(sample, p)), told[0])
    if paths:  # the step changes the target before the loss sees it, or makes it: a later field of the same size stands for it
        candidates = [p for p in list(sample.fields)[1:] if _row_size(sample, p) == _target_size(sample, loss)]
        candidates = candidates or [p for p in list(sample.fields)[1:] if _is_label(sample, p)]
    else:
        candidates = [p for p in sample.fields if len(sample.fields) > 1 and _is_label(sample, p)]
    candidates = [p for p in candidates if sample.fields[p][0].dtype is not torch.bool] or candidates  # masks stand beside labels
    label = next((p for p in reversed(candidates) if not data_identity.is_number(sample, p)), None)
    inputs = tuple(p for p in sample.fields if p != label and _is_feature(sample, p))
    guessed = (*(() if paths else ("input",)), *(("target",) if label else ()))
    return Roles(inputs, label, guessed)


def _is_label(sample: Sample, path: str) -> bool:
    return not sample.fields[path][0].is_floating_point() and _row_size(sample, path) == 1


def _row_size(sample: Sample, path: str) -> int | None:
    """Values per row of a field, ``None`` where batches differ."""
    whole = sample.of(path)
    return None if whole is None else whole[0].numel()


def _target_size(sample: Sample, loss: Mapping[str, Any] | None) -> float:
    """Values per row of the target that the loss was given, NaN without a loss."""
    return math.nan if loss is None else math.prod(loss["target_shape"]) / sample.sizes[0]


def _is_feature(sample: Sample, path: str) -> bool:
    return sample.fields[path][0].dim() > 0 and not data_identity.is_number(sample, path)
