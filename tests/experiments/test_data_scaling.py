"""Windows that were scaled before or after their future was cut off."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

ROWS, PAST = 80, 24


def windows(channels: int = 1) -> Tensor:
    """Random walks of 30 steps, shape (rows, steps, channels)."""
    return torch.randn(ROWS, 30, channels, generator=torch.Generator().manual_seed(0)).cumsum(1)


def scaled(x: Tensor, by: Tensor, how: str) -> Tensor:
    if how == "mean and deviation":
        return (x - by.mean(1, keepdim=True)) / (by.std(1, keepdim=True) + 1e-6)
    if how == "largest magnitude":
        return x / by.abs().amax(1, keepdim=True)
    low = by.amin(1, keepdim=True)
    return (x - low) / (by.amax(1, keepdim=True) - low)


def seen(past: Tensor, ahead: Tensor) -> dict[str, Any] | None:
    shape = list(ahead.shape)
    loss = {"kind": "mse_loss", "classes": 0, "input_shape": shape, "target_shape": [8, *shape[1:]], "target_dtype": "float32"}
    record = Record()
    roles = {"batch[0]": "input", "batch[1]": "target"}
    measure_data(record, DataLoader(TensorDataset(past, ahead), batch_size=8), None, roles=roles, loss=loss, seconds=math.inf)
    return record.facts.get("data.scaling")


@pytest.mark.parametrize("how", ["mean and deviation", "least and largest value", "largest magnitude"])
def test_a_scale_of_past_and_future_together_is_told_from_one_of_the_past(how: str) -> None:
    x = windows()
    leaks, sound = scaled(x, x, how)[..., 0], scaled(x, x[:, :PAST], how)[..., 0]
    found = seen(leaks[:, :PAST], leaks[:, PAST:])
    assert found is not None
    assert (found["by"], found["path"], found["channel"], found["rows"]) == (how, "batch[0]", None, ROWS)
    assert 0.1 < found["apart"] <= 1
    assert seen(sound[:, :PAST], sound[:, PAST:]) is None


def test_one_channel_of_several_is_to_be_predicted() -> None:
    x = windows(3)
    leaks = scaled(x, x, "mean and deviation")
    found = seen(leaks[:, :PAST], leaks[:, PAST:, 1])
    assert found is not None
    assert found["channel"] == 1
    found = seen(leaks[:, :PAST], leaks[:, PAST:])
    assert found is not None
    assert found["channel"] == 0


def test_targets_of_their_own_and_switches_are_none() -> None:
    x = scaled(windows(), windows(), "mean and deviation")[..., 0]
    assert seen(x, torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(1))) is None
    once = torch.eye(30)[torch.randint(30, (ROWS,), generator=torch.Generator().manual_seed(2))]
    assert seen(once[:, :PAST], once[:, PAST:]) is None


def test_targets_that_have_the_scale_by_themselves_are_none() -> None:
    """One-hot labels as floats, and peaks of height one, beside inputs between nought and one."""
    random = torch.Generator().manual_seed(3)
    x = torch.rand(ROWS, PAST, generator=random)
    places = torch.randint(6, (ROWS, 1), generator=random)
    assert seen(x, torch.eye(6)[places[:, 0]]) is None
    width = 1 + torch.rand(ROWS, 1, generator=random)
    assert seen(x, torch.exp(-(((torch.arange(6) - places) / width) ** 2))) is None
