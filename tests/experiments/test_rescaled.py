from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.experiments.initial import initial_loss
from diagnose.experiments.rescaled import standardised_targets
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record
from tests.experiments.odd import Regressor, blobs, loaders, sandboxed


class Absolute(Regressor):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.l1_loss(self(batch[0]), batch[1])


def compared(module: Regressor, y: Tensor, **options: Any) -> Record:
    def use(sandbox: Sandbox, record: Record) -> None:
        initial_loss(sandbox, record)
        sandbox.reset()
        standardised_targets(sandbox, record)
        before = module.state_dict()
        assert all(torch.equal(v, before[k]) for k, v in sandbox.module.state_dict().items())

    return sandboxed(module, loaders(blobs(256)[0], y, **options)[0], use)


def answers(scale: float, mean: float = 0.0, *, columns: int = 1) -> Tensor:
    """What goes with the inputs, in units of ``1 / scale``; further columns are not scaled."""
    x = blobs(256)[0]
    return torch.cat([mean + scale * x[:, :1], *(x[:, k : k + 1] for k in range(1, columns))], dim=1)


@pytest.mark.parametrize(("module", "unit"), [(Regressor(), 1e6), (Absolute(), 1e3)])
def test_large_targets_are_learned_where_they_are_standardised(module: Regressor, unit: float) -> None:
    fact = compared(module, answers(1000.0, 3000.0)).facts["probe.rescaled"]
    assert 0.5 * unit < fact["chance"] < 2 * unit  # in the unit of the targets
    assert fact["held_out"] < 0.2 * fact["chance"]
    assert fact["steps"] == 150


def test_columns_of_other_units() -> None:
    module = Regressor(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    fact = compared(module, answers(1000.0, columns=2)).facts["probe.rescaled"]
    assert fact["held_out"] < 0.1 * fact["chance"]


@pytest.mark.parametrize(
    ("module", "y", "options", "why"),
    [
        (Regressor(), answers(1.0), {}, "not far larger"),
        (Regressor(), answers(20.0), {}, "not far larger"),
        (Regressor(), answers(1000.0), {"batch_size": 256}, "too little data: 1 batches"),
        (Regressor(), answers(1000.0)[:, 0], {}, "another shape"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_nothing_to_compare(module: Regressor, y: Tensor, options: dict[str, Any], why: str) -> None:
    assert re.search(why, compared(module, y, **options).missing["probe.rescaled"])
