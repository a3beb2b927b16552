from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from diagnose.experiments.anatomy import examine
from diagnose.experiments.sandbox import Sandbox
from diagnose.experiments.unpenalised import without_penalty
from diagnose.record import Record
from tests.experiments.odd import Classifier, blobs, loaders, sandboxed


class Penalised(Classifier):
    """Adds the sum of all squared weights to its loss, ``strength`` times."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + self.strength * sum(p.square().sum() for p in self.parameters())


class Sums(Penalised):
    """The same beside a sum over the samples."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        penalty = sum(p.square().sum() for p in self.parameters())
        return F.cross_entropy(self(batch[0]), batch[1], reduction="sum") + 50 * self.strength * penalty


class Crowded(Classifier):
    """Adds a term that depends on the batch and is least where all scores are zero."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + 30 * self(batch[0]).square().mean()


def compared(module: Classifier, **options: Any) -> Record:
    def use(sandbox: Sandbox, record: Record) -> None:
        examine(sandbox, record)
        sandbox.reset()
        without_penalty(sandbox, record)
        before = module.state_dict()
        assert all(torch.equal(v, before[k]) for k, v in sandbox.module.state_dict().items())

    return sandboxed(module, loaders(*blobs(256), **options)[0], use)


def test_a_penalty_that_keeps_a_network_from_learning() -> None:
    fact = compared(Penalised(0.3)).facts["probe.unpenalised"]
    assert fact["whole"] > 0.9
    assert fact["alone"] < 0.5
    assert 0.9 < fact["chance"] < 1.1  # the entropy of the shares in batches of 16
    assert fact["steps"] == 150


def test_a_term_of_the_batch_that_keeps_a_network_from_learning() -> None:
    fact = compared(Crowded()).facts["probe.unpenalised"]
    assert fact["whole"] > 0.9
    assert fact["alone"] < 0.5
    assert fact["floor"] == 0.0


@pytest.mark.parametrize(
    ("module", "options", "why"),
    [
        (Penalised(1e-4), {}, "adds nothing to its loss that pulls as hard as the data"),
        (Classifier(), {}, "adds nothing to its loss that pulls as hard as the data"),
        (Penalised(0.3), {"batch_size": 256}, "adds nothing|too little data: 1 batches"),
        (Sums(0.3), {}, "the loss call is no mean of a known kind"),
    ],
)
def test_nothing_to_compare(module: Classifier, options: dict[str, Any], why: str) -> None:
    assert re.search(why, compared(module, **options).missing["probe.unpenalised"])
