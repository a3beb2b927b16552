"""Models that predict the next step, and those that look at it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.future import change_future
from tests.experiments.odd import Classifier, loaders, sandboxed

TOKENS = (torch.arange(12)[None] * 3 + torch.arange(64)[:, None] * 5) % 20


class Language(Classifier):
    """A next-token model; ``two_ways`` lets it look ahead."""

    def __init__(self, two_ways: bool = False) -> None:
        super().__init__(nn.Embedding(20, 16))
        self.rnn = nn.GRU(16, 16, batch_first=True, bidirectional=two_ways)
        self.head = nn.Linear(32 if two_ways else 16, 20)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.rnn(self.net(x))[0])
        return y

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        (tokens,) = batch
        return F.cross_entropy(self(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:])


class ShiftedAfterwards(Language):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        (tokens,) = batch
        return F.cross_entropy(self(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


class Pairs(Language):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        now, then = batch
        return F.cross_entropy(self(now).flatten(0, 1), then.flatten())


CASES = [(Language, (TOKENS,)), (ShiftedAfterwards, (TOKENS,)), (Pairs, (TOKENS[:, :-1], TOKENS[:, 1:]))]


@pytest.mark.parametrize(("kind", "tensors"), CASES)
@pytest.mark.parametrize("two_ways", [False, True])
def test_the_future(kind: type[Language], tensors: tuple[Tensor, ...], two_ways: bool) -> None:
    record = sandboxed(kind(two_ways), loaders(*tensors)[0], lambda sandbox, record: change_future(sandbox, record))
    seen = record.facts["probe.future"]
    assert (seen["shift"], seen["noise"]) == (1, 0.0)
    assert seen["changed"] > 0.01 if two_ways else seen["changed"] < 1e-6


class FromTwo(Language):
    """Predicts from the two frames before; ``two_ways`` lets it look at what it predicts."""

    def __init__(self, two_ways: bool = False) -> None:
        super().__init__()
        self.two_ways, self.net = two_ways, nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        (clip,) = batch
        now = clip[:, 2:] if self.two_ways else clip[:, 1:-1]
        return F.mse_loss(self.net(torch.cat([clip[:, :-2].flatten(0, 1), now.flatten(0, 1)], -1)), clip[:, 2:].flatten(0, 1))


@pytest.mark.parametrize("two_ways", [False, True])
def test_two_frames_that_tell_the_third(two_ways: bool) -> None:
    clips = torch.randn(64, 7, 3, generator=torch.Generator().manual_seed(0))
    record = sandboxed(FromTwo(two_ways), loaders(clips)[0], lambda sandbox, record: change_future(sandbox, record))
    seen = record.facts["probe.future"]
    assert seen["shift"] == 2
    assert seen["changed"] > 0.01 if two_ways else seen["changed"] < 1e-6


def test_other_models_predict_no_next_step() -> None:
    record = sandboxed(Classifier(), loaders()[0], lambda sandbox, record: change_future(sandbox, record))
    assert "this is no next-step model" in record.missing["probe.future"]


class Series(Classifier):
    """A convolution over a series of one channel, shape ``(n, 1, time)``; padded on both sides, ``two_ways``, it sees what comes."""

    def __init__(self, two_ways: bool) -> None:
        super().__init__(nn.Conv1d(1, 1, 3))
        self.pads = (1, 1) if two_ways else (2, 0)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        now, then = batch
        return F.mse_loss(self.net(F.pad(now, self.pads)).reshape(then.shape), then)


@pytest.mark.parametrize("channel", [True, False])
@pytest.mark.parametrize("two_ways", [False, True])
def test_a_series_of_one_channel(two_ways: bool, channel: bool) -> None:
    walk = torch.randn(64, 13, generator=torch.Generator().manual_seed(0)).cumsum(1)
    then = walk[:, None, 1:] if channel else walk[:, 1:]
    record = sandboxed(Series(two_ways), loaders(walk[:, None, :-1], then)[0], lambda sandbox, record: change_future(sandbox, record))
    seen = record.facts["probe.future"]
    assert seen["shift"] == 1
    assert seen["changed"] > 0.01 if two_ways else seen["changed"] < 1e-6
