"""Batch norm of trained modules in both modes: measured without a trace, and judged by the check of the report."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.batch_norm import measure_batch_norm
from diagnose.record import Record
from diagnose.report import build_report
from diagnose.report.batch_norm import batch_norm_check
from diagnose.values import Diagnosis
from tests.callbacks.identity import QUIET


class Net(lightning.LightningModule):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 16, bias=False), norm, nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def loader() -> DataLoader[Any]:
    x = torch.randn(320, 6, generator=torch.Generator().manual_seed(1)) + 2
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=32)


def trained(norm: nn.Module, epochs: int = 10) -> Net:
    module = Net(norm)
    lightning.Trainer(**{**QUIET, "max_epochs": epochs, "logger": False, "enable_checkpointing": False}).fit(module, loader())
    return module


def judged(module: Net) -> tuple[Record, Any]:
    record = Record()
    measure_batch_norm(record, module, loader())
    return record, batch_norm_check(record)


def test_running_averages_that_are_used_pass_and_nothing_is_changed() -> None:
    module = trained(nn.BatchNorm1d(16))
    before, modes = copy.deepcopy(module.state_dict()), {n: m.training for n, m in module.named_modules()}
    random = torch.get_rng_state()
    record, check = judged(module)
    assert check.state == "passed"
    assert "batches of 32 values per channel explain" in check.text
    (found,) = record.facts["batch_norm"]
    assert (found["name"], found["updates"], found["values"], found["batches"]) == ("net.1", 100, 32, 8)
    assert 0.5 < found["found"] / found["expected"] < 1.5
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert modes == {n: m.training for n, m in module.named_modules()}
    assert torch.equal(random, torch.get_rng_state())
    section = next(s for s in build_report(record, Diagnosis()).sections if s.name == "checks")
    assert section.checks == (check,)
    assert section.tables[0].rows[0][:4] == ("net.1", 32, 0.1, 100)


def stale(module: Net) -> None:
    with torch.no_grad():
        module.net.get_parameter("0.weight").mul_(3.0)


@pytest.mark.filterwarnings("ignore:Found 1 module.s. in eval mode at the start of training")
@pytest.mark.parametrize(
    ("norm", "epochs", "change", "text"),
    [
        (lambda: nn.BatchNorm1d(16, track_running_stats=False), 1, None, "net.1: it keeps no running averages, so in evaluation too"),
        (
            lambda: nn.BatchNorm1d(16, momentum=0.001),
            2,
            None,
            "its running averages still hold 98.0 % of their start values after 20 batches",
        ),
        (lambda: nn.BatchNorm1d(16, momentum=1.0), 2, None, "with momentum=1 its running averages are those of the last batch alone"),
        (lambda: nn.BatchNorm1d(16), 4, stale, "its running averages are stale, or belong to other data or weights"),
        (lambda: nn.BatchNorm1d(16), 0, None, "net.1: its running averages have never been updated"),
        (lambda: nn.BatchNorm1d(16).eval(), 1, None, "it stood in evaluation mode in training and its running averages have never been"),
    ],
)
def test_running_averages_that_are_not_used_are_named(
    norm: Callable[[], nn.Module], epochs: int, change: Callable[[Net], None] | None, text: str
) -> None:
    module = trained(norm(), epochs) if epochs else Net(norm())
    if change is not None:
        change(module)
    _, check = judged(module)
    assert check.state == "failed"
    assert text in check.text


def test_a_frozen_layer_is_not_judged_and_a_module_without_says_nothing() -> None:
    module = trained(nn.BatchNorm1d(16))
    module.net.get_submodule("1").eval()
    assert judged(module)[1].state == "unjudged"
    record, check = judged(trained(nn.LayerNorm(16), 1))
    assert check is None
    assert "batch_norm" not in record
