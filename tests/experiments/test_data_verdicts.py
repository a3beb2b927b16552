"""Loaders of healthy programs raise no alarm; loaders with a fault raise the right one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from diagnose.experiments import data_reading
from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record
from diagnose.rules import build, diagnose
from tests.experiments.healthy_loaders import CASES, Case, generator, loaders, trend_over_time


def findings(case: Case, roles: dict[str, str] | None = None, seconds: float = math.inf) -> dict[str, str]:
    train, val, kind = case
    first = next(iter(train)) if not isinstance(train.dataset, IterableDataset) else None
    target = first[1] if isinstance(first, (list, tuple)) and len(first) > 1 else torch.zeros(32, dtype=torch.int64)
    loss = {"kind": kind, "classes": 200 if kind == "cross_entropy" else None, "target_shape": list(target.shape)}
    loss |= {"input_shape": [len(target), 200], "target_dtype": str(target.dtype).removeprefix("torch.")}
    record = Record()
    roles = {"batch[0]": "input", "batch[1]": "target"} if roles is None else roles
    measure_data(record, train, val, roles=roles, loss=loss, seconds=seconds)
    return {f.rule: f.severity.value for f in diagnose(record, build(select=["D1"], ignore=["D110"]), strict=True).findings}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_healthy_loaders_raise_no_alarm(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    alarms = {rule: severity for rule, severity in findings(CASES[name](seed)).items() if severity != "info"}
    assert alarms == {}


class Clock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize("name", CASES)
def test_healthy_loaders_that_are_slow_raise_no_alarm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for batches in (1, 4, 8, 12):
        torch.manual_seed(0)
        monkeypatch.setattr(data_reading, "time", Clock())
        alarms = {rule: severity for rule, severity in findings(CASES[name](0), seconds=batches - 0.5).items() if severity != "info"}
        assert alarms == {}, f"after {batches} batches"


def test_what_cannot_be_said_of_slow_loaders_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_reading, "time", Clock())
    record, (train, val, _) = Record(), trend_over_time(0)
    measure_data(record, train, val, roles={"batch[0]": "input", "batch[1]": "target"}, loss=None, seconds=2.5)
    few = "time ran out after 3 of its batches, at least 8 are needed"
    assert record.missing["data.order"] == f"the training data are slow: {few}"
    assert record.missing["data.shift"] == f"the data are slow: train: {few}"  # the validation loader has no more than three


def test_pixels_and_raw_columns_are_not_normalised() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images * 255 / 16)[:, None], torch.tensor(digits.target)
    assert findings(loaders(images, labels, "cross_entropy")) == {"unnormalized-input": "warning"}
    assert "unnormalized-input" in findings(loaders(images.flatten(1), labels, "cross_entropy"))
    x, y = load_breast_cancer(return_X_y=True)
    assert "unnormalized-input" in findings(loaders(torch.tensor(x), torch.tensor(y), "cross_entropy"))


def test_one_transform_missing_in_validation() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images / 16).float()[:, None], torch.tensor(digits.target)
    for scale, shift in ((16.0, 0.0), (255.0, 0.0), (2.7, -0.8), (0.5, 0.4), (1 / 255, 0.0)):
        val = DataLoader(TensorDataset(images[1300:] * scale + shift, labels[1300:]), batch_size=100)
        train = DataLoader(TensorDataset(images[:1300], labels[:1300]), batch_size=64, shuffle=True)
        assert findings((train, val, "cross_entropy")).get("split-shift") == ("warning"), scale


def test_table_scaled_in_training_only() -> None:
    x, y = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], torch.tensor(y[order])
    scaled = torch.tensor((x[:120] - x[:120].mean(0)) / x[:120].std(0)).float()
    train = DataLoader(TensorDataset(scaled, y[:120]), batch_size=16, shuffle=True)
    assert findings((train, DataLoader(TensorDataset(torch.tensor(x[120:]).float(), y[120:]), batch_size=58), "cross_entropy")) == {
        "split-shift": "warning"
    }


def test_stream_in_order_of_its_classes() -> None:
    class Files(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            g = generator(0)
            for row in range(1000):
                yield torch.randn(4, generator=g), row // 100

    assert findings((DataLoader(Files(), batch_size=20), None, "cross_entropy")) == {"unshuffled-train": "warning"}


def test_long_sorted_data_are_seen_although_few_batches_are_read() -> None:
    y = torch.arange(2).repeat_interleave(10_000)
    x = torch.randn(20_000, 3)
    assert findings((DataLoader(TensorDataset(x, y), batch_size=32), None, "cross_entropy")) == {"unshuffled-train": "warning"}
    assert findings((DataLoader(TensorDataset(x, y), batch_size=1), None, "cross_entropy")) == {"unshuffled-train": "warning"}


def test_validation_is_training() -> None:
    train, _, loss = loaders(torch.randn(500, 6), torch.randint(0, 3, (500,)), "cross_entropy")
    assert findings((train, DataLoader(train.dataset, batch_size=100), loss)) == {"split-overlap": "error"}
    clean = DataLoader(TensorDataset(torch.randn(200, 6), torch.randint(0, 3, (200,))), batch_size=100)
    assert findings((train, [DataLoader(train.dataset, batch_size=100), clean], loss)) == {"split-overlap": "info"}


@pytest.mark.parametrize("seed", range(3))
def test_other_spread_in_validation(seed: int) -> None:
    g = generator(seed)
    colour = torch.rand(300, 3, 10, 10, generator=g)
    labels = torch.randint(0, 4, (300,), generator=g)
    mean, std = torch.tensor([0.48, 0.45, 0.40])[:, None, None], torch.tensor([0.23, 0.22, 0.22])[:, None, None]
    train = DataLoader(TensorDataset((colour[:220] - mean) / std, labels[:220]), batch_size=16, shuffle=True)
    val = DataLoader(TensorDataset(colour[220:], labels[220:]), batch_size=80)
    assert findings((train, val, "cross_entropy")) == {"split-shift": "warning"}
    table = torch.randn(800, 6, generator=g)
    train = DataLoader(TensorDataset(table[:600], table[:600, 0]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(table[600:] / 10, table[600:, 0]), batch_size=100)
    assert findings((train, val, "mse_loss")) == {"split-shift": "warning"}
