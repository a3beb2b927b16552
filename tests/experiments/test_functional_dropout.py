"""Dropout as a function: what drops in validation is seen, what asks for the mode is not."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.experiments.modes import validate
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record
from tests.experiments.odd import Classifier, loaders, sandboxed


class Net(LightningModule):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.b, self.drop = kind, nn.Linear(8, 16), nn.Linear(16, 2), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Any:
        h = F.relu(self.a(x))
        if self.kind == "always":
            h = F.dropout(h, 0.5)
        elif self.kind == "asks":
            h = F.dropout(h, 0.5, training=self.training)
        elif self.kind == "attention":
            h = h + F.scaled_dot_product_attention(h[:, None], h[:, None], h[:, None], dropout_p=0.1)[:, 0]
        else:
            h = self.drop(h)
        return self.b(h)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


@pytest.mark.parametrize(
    ("kind", "dropping"),
    [("always", ["F.dropout(p=0.5)"]), ("attention", ["F.scaled_dot_product_attention(dropout_p=0.1)"]), ("asks", []), ("module", [])],
)
def test_what_drops_in_validation_is_named(kind: str, dropping: list[str]) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 8)
    loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 20, shuffle=True)
    held = DataLoader(TensorDataset(x[:40] + 3, (x[:40, 0] > 0).long()), 20)
    record = Record()
    found = diagnose.check(Net(kind), loader, held, record=record, patience=math.inf).findings
    assert record.facts["probe.modes"]["dropping"] == dropping
    assert ("wrong-mode" in {f.rule for f in found}) == bool(dropping)


@pytest.mark.parametrize(("judged", "calls"), [(True, 1), (False, 0)])
def test_how_often_a_validation_step_gives_targets_to_a_loss(judged: bool, calls: int) -> None:
    class Searched(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            scores = self(batch[0])
            if judged:
                F.cross_entropy(scores, batch[1] + 40)  # raises: no such class

    def use(sandbox: Sandbox, record: Record) -> None:
        with suppress(IndexError):
            validate(sandbox, record)

    record = sandboxed(Searched(), loaders()[0], use, val=loaders()[1])
    assert record.facts["probe.validation"] == {"calls": calls}
