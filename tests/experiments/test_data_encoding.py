"""A column of means of the target that were taken over training and validation rows together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.suspicious_validation import SuspiciousValidation
from tests.experiments.odd import loaders

ROWS, GROUPS = 1200, 200
TRAIN = 900  # rows of 1200 that `loaders` gives to training


def seen(column: np.ndarray, y: np.ndarray) -> Record:
    """What is measured of a table with this column beside three others."""
    rng = np.random.default_rng(7)
    x = torch.from_numpy(np.column_stack([rng.standard_normal((ROWS, 2)), column, rng.integers(0, 2, ROWS)]).astype(np.float32))
    classes = y.dtype.kind == "i"
    loss = {"kind": "cross_entropy" if classes else "mse_loss", "classes": 2, "input_shape": [16, 2] if classes else [16]}
    loss |= {"target_shape": [16], "target_dtype": "int64" if classes else "float32"}
    record = Record()
    train, val = loaders(x, torch.from_numpy(y if classes else y.astype(np.float32)))
    measure_data(record, train, val, roles={"batch[0]": "input", "batch[1]": "target"}, loss=loss, seconds=math.inf)
    return record


def table(seed: int, kind: str, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups of rows, a target to which a group adds its ``effect``, and what a group adds."""
    rng = np.random.default_rng(seed)
    group, added = rng.integers(0, GROUPS, ROWS), effect * rng.standard_normal(GROUPS)
    score = added[group] + rng.logistic(size=ROWS)
    return group, (score > 0).astype(int) if kind == "class" else score, added


def means(group: np.ndarray, y: np.ndarray, weight: float = 0.0) -> np.ndarray:
    """Means of the target by group, drawn to the mean of all by so many rows."""
    count = np.bincount(group, minlength=GROUPS)
    mean: np.ndarray = (np.bincount(group, y, GROUPS) + weight * y.mean()) / np.maximum(count + weight, 1e-9)
    return mean


@pytest.mark.parametrize("kind", ["class", "value"])
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_means_over_both_parts_are_found(kind: str, effect: float) -> None:
    group, y, _ = table(0, kind, effect)
    encoded = 3 * means(group, y)[group] - 1  # any unit
    record = seen(encoded, y)
    fact = record.facts["data.encoding"]
    assert (fact["column"], fact["correlation"] < -0.85) == (2, True)
    (found,) = run(SuspiciousValidation(), record, strict=True).findings
    assert "column 2 of batch[0] holds means of the target" in found.message


def test_means_drawn_to_the_mean_of_all_are_found() -> None:
    group, y, _ = table(1, "value", 1.0)
    assert run(SuspiciousValidation(), seen(means(group, y, weight=3.0)[group], y), strict=True).findings


@pytest.mark.parametrize("seed", range(4))
def test_means_of_training_rows_of_history_and_true_effects_are_honest(seed: int) -> None:
    group, y, added = table(seed, "class", 1.5)
    past, before = np.random.default_rng(100 + seed).integers(0, GROUPS, 8 * ROWS), np.random.default_rng(200 + seed)
    history = (added[past] + before.logistic(size=len(past)) > 0).astype(int)
    for column in (means(group[:TRAIN], y[:TRAIN])[group], means(past, history)[group], added[group], group.astype(float)):
        record = seen(column, y)
        assert record.facts.get("data.encoding", {"correlation": 0.0})["correlation"] > -0.6
        assert not run(SuspiciousValidation(), record).findings


def test_groups_of_a_balanced_design_are_honest() -> None:
    """Each group has as many of each class: training and validation cancel, but the column tells nothing."""
    rng = np.random.default_rng(0)
    order = rng.permutation(ROWS)
    group, y = (np.arange(ROWS) // 6)[order], (np.arange(ROWS) % 2)[order]
    assert "tell the target" in seen(group.astype(float), y).missing["data.encoding"]
