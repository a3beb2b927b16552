"""A weak signal that a few batches hide and many batches show."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from diagnose.experiments.check import check
from diagnose.experiments.one_pass import learn_in_one_pass
from diagnose.record import Record
from diagnose.rules import build
from tests.experiments.odd import Classifier, sandboxed


def clicks(rows: int = 6000, signal: float = 1.0) -> tuple[Tensor, Tensor]:
    """One row in twenty-five is clicked, which its twenty columns hardly tell."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 20, generator=draw)
    odds = signal * x[:, :5].sum(1) / 5**0.5 - 3.5
    return x, (torch.rand(rows, generator=draw) < odds.sigmoid()).long()


def network() -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))


def once(rows: int = 6000, signal: float = 1.0, **options: Any) -> Record:
    loader = DataLoader(TensorDataset(*clicks(rows, signal)), batch_size=25, **options)
    return sandboxed(network(), loader, lambda sandbox, record: learn_in_one_pass(sandbox, loader, record), count=24)


def test_many_batches_show_what_holds() -> None:
    fact = once().facts["probe.once"]
    assert fact["held_out"] > 3
    assert (fact["steps"], fact["samples"]) == (192, 1200)
    assert abs(once(signal=0.0).facts["probe.once"]["held_out"]) < 2.5


def test_too_few_batches_or_rows_that_come_twice_show_nothing_new() -> None:
    assert once(rows=800).missing["probe.once"] == "too little data: 32 batches"
    sampler = WeightedRandomSampler(torch.ones(6000).tolist(), 6000)
    loader = DataLoader(TensorDataset(*clicks()), batch_size=25, sampler=sampler)
    record = Record()
    record.add("data", {"train": {"order": "weighted"}})
    sandboxed(network(), loader, lambda sandbox, _: learn_in_one_pass(sandbox, loader, record), count=24)
    assert "draws rows more than once" in record.missing["probe.once"]


@pytest.mark.slow
def test_a_weak_signal_is_no_misalignment() -> None:
    for moved, codes in ((0, []), (2, ["D110"])):
        x, y = clicks(signal=0.6)
        loader = DataLoader(TensorDataset(x, y.roll(moved, 0)), batch_size=25, shuffle=True)
        diagnosis = check(network(), loader, rules=build(select=["D110"]))
        assert [f.code for f in diagnosis.findings if f.severity.value == "warning"] == codes
