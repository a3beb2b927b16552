"""A column that tells far more of the target in validation than in training."""

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

ROWS, TRAIN, GROUPS = 2400, 1800, 400  # `loaders` gives three quarters to training


def seen(column: np.ndarray, other: np.ndarray, y: np.ndarray) -> Record:
    """What is measured of a table with these columns and one of noise."""
    noise = np.random.default_rng(7).standard_normal(ROWS)
    x = torch.from_numpy(np.column_stack([column, other, noise]).astype(np.float32))
    classes = y.dtype.kind == "i"
    loss = {"kind": "cross_entropy" if classes else "mse_loss", "classes": 2, "input_shape": [16, 2] if classes else [16]}
    loss |= {"target_shape": [16], "target_dtype": "int64" if classes else "float32"}
    record = Record()
    train, val = loaders(x, torch.from_numpy(y if classes else y.astype(np.float32)))
    roles = {"batch[0]": "input", "batch[1]": "target"}
    measure_data(record, train, val, roles=roles, loss=loss, batches=200, seconds=math.inf)
    return record


def table(seed: int, kind: str, effect: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups of rows, another column that tells the target, and the target."""
    rng = np.random.default_rng(seed)
    group, other = rng.integers(0, GROUPS, ROWS), rng.standard_normal(ROWS)
    score = effect * rng.standard_normal(GROUPS)[group] + other + rng.logistic(size=ROWS)
    return group, other, (score > 0).astype(int) if kind == "class" else score


def means(group: np.ndarray, y: np.ndarray, of: np.ndarray, out: bool = False) -> np.ndarray:
    """Means of the target by group over the rows ``of``, drawn to the mean of all by one row; each row itself left ``out``."""
    total, count = np.bincount(group[of], y[of], GROUPS)[group], np.bincount(group[of], minlength=GROUPS)[group]
    mean: np.ndarray = (total - out * y + y[of].mean()) / (count - out + 1)
    return mean


def encoded(group: np.ndarray, y: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Means out of fold for training, and those given for validation."""
    fold, column = np.arange(TRAIN) % 5, held.copy()
    for k in range(5):
        column[:TRAIN][fold == k] = means(group, y, np.flatnonzero(fold != k))[:TRAIN][fold == k]
    return column


@pytest.mark.parametrize("kind", ["class", "value"])
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_means_of_the_labels_of_validation_are_found(kind: str, effect: float) -> None:
    group, other, y = table(0, kind, effect)
    record = seen(encoded(group, y, means(group, y, np.arange(TRAIN, ROWS))), other, y)
    fact = record.facts["data.own_labels"]
    assert (fact["column"], fact["lead"] > 0.25, fact["errors"] > 5) == (0, True, True)
    (found,) = run(SuspiciousValidation(), record, strict=True).findings
    assert "column 0 of batch[0] tells far more of the target in validation than in training" in found.message


@pytest.mark.parametrize("kind", ["class", "value"])
@pytest.mark.parametrize("effect", [0.0, 1.0, 2.0])
def test_means_of_training_labels_are_honest(kind: str, effect: float) -> None:
    group, other, y = table(1, kind, effect)
    rows = np.arange(TRAIN)
    honest = means(group, y, rows)
    alone = np.concatenate([means(group, y, rows, out=True)[:TRAIN], honest[TRAIN:]])
    for column in (encoded(group, y, honest), alone):
        assert seen(column, other, y).facts["data.own_labels"]["lead"] < 0.12


def test_noise_on_all_of_training_is_no_leak() -> None:
    rng = np.random.default_rng(2)
    first, other = rng.standard_normal((2, ROWS))
    noisy = np.arange(ROWS) < TRAIN
    score = 2 * first + other + rng.logistic(size=ROWS)
    labels = np.where(noisy & (rng.random(ROWS) < 0.35), score < 0, score > 0).astype(int)
    assert seen(first, other, labels).facts["data.own_labels"]["lead"] < 0.12
    x, z = (c + 1.5 * noisy * rng.standard_normal(ROWS) for c in (first, other))
    assert seen(x, z, (score > 0).astype(int)).facts["data.own_labels"]["lead"] < 0.12


def test_one_branch_of_a_curve_is_no_leak() -> None:
    """A winter and a summer in training, and a summer in validation."""
    rng = np.random.default_rng(3)
    warm, other = rng.uniform(-1, 1, ROWS), rng.standard_normal(ROWS)
    warm[TRAIN:] = np.abs(warm[TRAIN:])
    score = 4 * np.abs(warm) + other + 0.5 * rng.standard_normal(ROWS)
    assert seen(warm, other, score).facts.get("data.own_labels", {"lead": 0.0})["lead"] < 0.12


def test_nothing_is_said_without_another_column_that_tells() -> None:
    group, other, y = table(0, "class", 0.0)
    record = seen(encoded(group, y, means(group, y, np.arange(TRAIN, ROWS))), np.random.default_rng(5).permutation(other), y)
    assert "no other column tells" in record.missing["data.own_labels"]
