"""Predictions and targets of different shapes, and differences that are no loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.rules import run
from diagnose.rules.loss_broadcast import LossBroadcast
from tests.experiments.looking import look
from tests.experiments.odd import Classifier, Regressor, blobs


@pytest.mark.parametrize("written", ["function", "by hand", "by hand, turned round"])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_broadcast(written: str) -> None:
    class Column(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            if written == "function":
                return F.mse_loss(self(x), y)
            return (self(x) - y if written == "by hand" else y - self(x)).square().mean()

    x, _ = blobs()
    record, _ = look(Column(), x, x[:, 0])
    assert record.facts["probe.step"]["broadcast"] == [[16, 1], [16]]


@pytest.mark.parametrize("column", [True, False])
def test_weights_that_meet_the_losses_of_all_samples(column: bool) -> None:
    class Weighed(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y, weight = batch
            return (weight * (self(x)[:, 0] - y) ** 2).mean()

    x, _ = blobs()
    weight = x[:, 1:2].abs() if column else x[:, 1].abs()
    record, _ = look(Weighed(), x, x[:, 0], weight)
    step = record.facts["probe.step"]
    assert (step["broadcast"], step["weighed"]) == (None, [[16], [16, 1]] if column else None)
    said = [f.message for f in run(LossBroadcast(), record).findings]
    assert len(said) == column
    assert all(s.startswith("losses of shape (16,) are multiplied by weights of shape (16, 1)") for s in said)


def test_what_is_meant_to_broadcast_is_none() -> None:
    class Shifted(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            return (self(x - x.mean(0)) - y - torch.zeros(1)).square().mean()

    x, _ = blobs()
    assert look(Shifted(), x, x[:, :1])[0].facts["probe.step"]["broadcast"] is None

    class Ctc(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            scores = self(x)[None].expand(4, -1, -1).log_softmax(-1)
            return F.ctc_loss(scores, (y % 2 + 1)[:, None], torch.full((len(x),), 4), torch.ones(len(x)).long())

    assert look(Ctc())[0].facts["probe.step"]["broadcast"] is None


class Bumps(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(count, 8))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None] - self.centres * 1.0).square().sum(-1)


@pytest.mark.parametrize("count", [16, 20])  # as many as the batch has samples, and more
def test_a_difference_inside_the_network_is_no_loss(count: int) -> None:
    x, y = blobs()
    columns = Regressor(Bumps(count), nn.Linear(count, 1))
    assert look(columns, x, x[:, :1])[0].facts["probe.step"]["broadcast"] is None
    assert look(Classifier(Bumps(count)), x, y)[0].facts["probe.step"]["broadcast"] is None

    class Density(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return -(-0.5 * self.net(batch[0])).logsumexp(1).mean()

    assert look(Density(Bumps(count)), x, y)[0].facts["probe.step"]["broadcast"] is None


def test_points_compared_with_all_points_of_their_sample() -> None:
    class Nearest(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            points = self.net(x).reshape(-1, 1, 4, 2)
            return (points - y[:, :, None]).square().sum(-1).amin(2).mean()

    x, _ = blobs()
    step = look(Nearest(nn.Linear(8, 8)), x, x.reshape(-1, 4, 2))[0].facts["probe.step"]
    assert step["broadcast"] is None


def test_distances_of_all_pairs_are_no_broadcast() -> None:
    class Energy(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            made, x = self.net(batch[0]), batch[1]
            return 2 * (made[:, None] - x).norm(dim=-1).mean() - (made[:, None] - made).norm(dim=-1).mean()

    x, _ = blobs()
    assert look(Energy(nn.Linear(8, 8)), x, x + 1)[0].facts["probe.step"]["broadcast"] is None


def test_a_broadcast_under_manual_optimisation() -> None:
    class Own(Regressor):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.manual_backward((self(x) - y).abs().clamp_max(2).mean())

    x, _ = blobs()
    assert look(Own(), x, x[:, 0])[0].facts["probe.step"]["broadcast"] == [[16, 1], [16]]
