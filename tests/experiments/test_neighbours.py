from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

from diagnose.experiments.neighbours import learn_from_neighbours
from diagnose.record import Record
from tests.experiments.odd import Regressor, sandboxed


def surface(n: int = 640) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return x, torch.sin(3 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]


def tried(module: Any, x: Tensor, y: Tensor, shuffle: bool = True, collate_fn: Any = None) -> Record:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(x, y), 40, shuffle=shuffle, collate_fn=collate_fn)
    return sandboxed(module, loader, lambda sandbox, record: learn_from_neighbours(sandbox, loader, ("batch[1]",), record), count=24)


def network(columns: int = 5) -> Regressor:
    torch.manual_seed(0)
    return Regressor(nn.Linear(columns, 64), nn.ReLU(), nn.Linear(64, 1))


@pytest.mark.parametrize("lag", [1, -1])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_data_set_that_is_shifted(lag: int, shuffle: bool) -> None:
    x, y = surface()
    fact = tried(network(), x, y.roll(-lag, 0), shuffle).facts["probe.neighbours"]
    assert (fact["lag"], fact["order"]) == (lag, "data set")
    assert fact["held_out"] > 6


def rolls(rows: list[Any]) -> Any:
    x, y = default_collate(rows)
    return x, y.roll(-1, 0)


def test_a_collate_function_that_rolls_its_targets() -> None:
    fact = tried(network(), *surface(), collate_fn=rolls).facts["probe.neighbours"]
    assert (fact["lag"], fact["order"]) == (1, "batch")
    assert fact["held_out"] > 6


def test_noise_belongs_to_no_row() -> None:
    x, _ = surface()
    fact = tried(network(), x, torch.randn(640, 1, generator=torch.Generator().manual_seed(1))).facts["probe.neighbours"]
    assert fact["held_out"] < 4


def series(n: int) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(2))


def test_the_next_number_of_a_series_is_in_the_next_row_by_nature() -> None:
    numbers = series(641)
    assert tried(network(1), numbers[:-1, None], numbers[1:, None]).facts["probe.neighbours"]["held_out"] < 4


def test_neighbours_of_a_slow_series_are_alike() -> None:
    walk = series(641).cumsum(0) / 10
    record = tried(network(1), walk[:-1, None], walk[1:, None], shuffle=False)
    assert record.missing["probe.neighbours"] == "neighbouring rows are alike, or there are too few batches"
