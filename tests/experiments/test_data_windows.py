"""Windows of one series in both splits, against splits whose overlap is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

WIDTH = 16


def overlap(train: Tensor, val: Tensor) -> dict[str, Any]:
    record = Record()
    loaders = [DataLoader(TensorDataset(x, torch.arange(len(x)) % 3), batch_size=32) for x in (train, val)]
    measure_data(record, *loaders, roles={"batch[0]": "input", "batch[1]": "target"}, loss=None, seconds=60.0)
    found: dict[str, Any] = record.facts["data.overlap"]["val/0"]
    return found


def windows(series: Tensor, step: int = 2) -> Tensor:
    """Windows of a series of shape ``(values, steps)``, shape ``(n, WIDTH, values)``."""
    return series.unfold(1, WIDTH, step).permute(1, 2, 0)


def series(steps: int, values: int = 1) -> Tensor:
    return torch.randn(values, steps, generator=torch.Generator().manual_seed(steps)).cumsum(1)


def at_random(x: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[: 3 * len(x) // 4]], x[order[3 * len(x) // 4 :]]


@pytest.mark.parametrize("values", [1, 3])
def test_windows_that_were_split_at_random_share_their_values(values: int) -> None:
    train, val = at_random(windows(series(1200, values)))
    assert overlap(train, val)["windows"] > 0.95
    assert overlap(train.transpose(1, 2), val.transpose(1, 2))["windows"] > 0.95
    assert overlap(train, val)["share"] == 0  # no window is the same


def test_windows_without_a_common_axis_of_values() -> None:
    train, val = at_random(windows(series(1200))[:, :, 0])
    assert overlap(train, val)["windows"] > 0.95


def test_a_split_by_time_shares_one_end_of_its_windows() -> None:
    x = windows(series(1200), step=1)
    assert overlap(x[:1160], x[1160:])["windows"] == 0  # most of these begin in training
    assert overlap(x[100:], x[:30])["windows"] == 0


def test_windows_that_overlap_by_half() -> None:
    train, val = at_random(windows(series(4000), step=WIDTH // 2))
    assert overlap(train, val)["windows"] == pytest.approx(0.75**2, abs=0.15)  # where both neighbours are training


def test_rows_that_are_no_windows_share_none() -> None:
    x = torch.randn(400, 12, generator=torch.Generator().manual_seed(1))
    assert overlap(x[:300], x[300:])["windows"] == 0


def test_values_of_a_coarse_grain_are_not_judged() -> None:
    levels = (torch.randn(400, 8, 8, generator=torch.Generator().manual_seed(2)) * 2).round() / 16
    train, val = at_random(levels)
    assert overlap(train, val)["windows"] == 0
    padded = torch.zeros(400, 40)
    padded[:, :3] = torch.randn(400, 3)
    assert overlap(*at_random(padded))["windows"] == 0


def test_short_rows_and_other_widths_are_not_judged() -> None:
    x = windows(series(400))
    assert overlap(x[:60, :6], x[60:, :6])["windows"] == 0
    assert overlap(x[:60], x[60:, :12])["windows"] == 0


def test_columns_of_a_table_with_a_few_values_each_recur_at_their_own_place() -> None:
    """Genotypes, standardised: each column has three values of its own, and stretches of them meet again by chance."""
    draw = torch.Generator().manual_seed(0)
    share = 0.05 + 0.45 * torch.rand(300, generator=draw)
    counts = torch.binomial(torch.full((1500, 300), 2.0), share.expand(1500, -1), generator=draw)
    x = (counts - 2 * share) / (2 * share * (1 - share)).sqrt()
    assert overlap(x[:1000], x[1000:])["windows"] == 0
