"""Steps that blend samples and their targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose import check
from diagnose.record import Record
from tests.experiments.odd import Classifier, loaders


class Blending(Classifier):
    """Mixup, with two loss calls or with soft targets; ``swapped`` gives each target the share of the other one."""

    def __init__(self, *, swapped: bool, soft: bool) -> None:
        super().__init__()
        self.swapped, self.soft = swapped, soft

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        own, partner = float(np.random.beta(0.4, 0.4)), torch.randperm(len(x))
        scores = self(own * x + (1 - own) * x[partner])
        share = 1 - own if self.swapped else own
        if self.soft:
            first, second = (F.one_hot(t, scores.shape[1]).float() for t in (y, y[partner]))
            return F.cross_entropy(scores, share * first + (1 - share) * second)
        return share * F.cross_entropy(scores, y) + (1 - share) * F.cross_entropy(scores, y[partner])


class Pasting(Classifier):
    """CutMix: columns of one sample in another."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        partner, x = torch.randperm(len(x)), x.clone()
        x[:, :2] = x[partner, :2]
        share = 1 - 2 / x.shape[1]
        scores = self(x)
        loss: Tensor = share * F.cross_entropy(scores, y) + (1 - share) * F.cross_entropy(scores, y[partner])
        return loss


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_shares_of_inputs_and_targets(swapped: bool, soft: bool) -> None:
    record = Record()
    found = {f.rule for f in check(Blending(swapped=swapped, soft=soft), *loaders(), record=record).findings}
    fact = record.facts["probe.mixture"]
    theirs = [1 - a if swapped else a for a in fact["input"]]
    assert len(fact["input"]) >= 3
    assert fact["target"] == pytest.approx(theirs, abs=1e-3)
    assert fact["swapped"] == (len(fact["input"]) if swapped else 0)
    assert ("misaligned-labels" in found) == swapped


@pytest.mark.parametrize("module", [Classifier, Pasting])
def test_steps_that_blend_nothing(module: type[Classifier]) -> None:
    record = Record()
    check(module(), *loaders(), record=record)
    assert record.missing["probe.mixture"] == "the step does not blend two samples at a time"
