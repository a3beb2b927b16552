"""What a weighted sampler does to the shares of the classes, against the data set that it draws from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from diagnose.record import Record
from tests.experiments.tables import facts, table

LABELS = torch.tensor([0] * 1400 + [1] * 450 + [2] * 150)


def drawn(weights: Tensor) -> Record:
    generator = torch.Generator().manual_seed(0)
    sampler = WeightedRandomSampler(weights.tolist(), len(LABELS), generator=generator)
    return facts(DataLoader(TensorDataset(table(len(LABELS)), LABELS), batch_size=50, sampler=sampler))


@pytest.mark.parametrize("power", [1.0, 0.5, -1.0])
def test_the_shares_of_the_data_set_come_back(power: float) -> None:
    counts = torch.bincount(LABELS).double()
    found: dict[str, Any] = drawn((counts**power)[LABELS]).facts["data.sampling"]
    shares = (counts / counts.sum()).numpy()
    expected = (counts ** (1 + power) / (counts ** (1 + power)).sum()).numpy()
    assert [found[c]["drawn"] for c in "012"] == pytest.approx(expected, abs=0.03)
    assert [found[c]["share"] for c in "012"] == pytest.approx(shares, rel=0.5, abs=0.01)
    assert np.array([found[c]["weight"] for c in "012"]) == pytest.approx((counts**power).numpy())


def test_rows_that_weigh_differently_are_left_alone() -> None:
    record = drawn(torch.rand(len(LABELS), generator=torch.Generator().manual_seed(1)) + 0.5)
    assert record.missing["data.sampling"] == "no sampler weighs the rows of each class alike"


def test_a_loader_without_weights() -> None:
    assert "data.sampling" in facts(DataLoader(TensorDataset(table(len(LABELS)), LABELS), batch_size=50, shuffle=True)).missing
