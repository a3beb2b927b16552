from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.check import check
from diagnose.experiments.learning import association, learn
from diagnose.record import Record
from tests.experiments.odd import Classifier, Manual, Margins, blobs, loaders, sandboxed


def learned(module: Any, *tensors: Tensor, paths: tuple[str, ...] = ("batch[1]",), batch_size: int = 16) -> Record:
    train_loader, _ = loaders(*tensors, batch_size=batch_size)
    return sandboxed(module, train_loader, lambda sandbox, record: learn(sandbox, paths, record), count=24)


def test_what_holds_on_other_batches() -> None:
    fact = learned(Classifier(), *blobs(256)).facts["probe.learning"]
    assert fact["held_out"] > 5
    assert fact["train"] > 5
    assert "shuffled" not in fact


def test_a_weak_signal_is_seen_before_all_rows_are_learned_by_heart() -> None:
    torch.manual_seed(3)
    x = torch.randn(800, 30)
    y = (x[:, :8].sum(1) + 5.0 * torch.randn(800) > 0).long()
    module = Classifier(nn.Linear(30, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))
    fact = learned(module, x, y).facts["probe.learning"]
    assert fact["early"] > fact["held_out"]
    assert fact["early"] > 2


def test_labels_of_other_rows_hold_nowhere() -> None:
    x, y = blobs(512)
    module = Classifier(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3))
    fact = learned(module, x, y[torch.randperm(512)]).facts["probe.learning"]
    assert abs(fact["held_out"]) < 4
    assert fact["train"] > 6
    assert fact["samples"] >= 100
    assert fact["real"] == pytest.approx(fact["shuffled"], rel=0.5)
    assert abs(fact["lead"]) < 0.3
    assert abs(fact["early"]) < 4


class Pairs(Classifier):
    """Classes of rows of whole numbers, each of which has a vector."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 3))
        self.table = nn.Embedding(40, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(self.table(x).sum(1))
        return y


def test_names_of_things_are_not_learned_in_a_few_steps() -> None:
    g = torch.Generator().manual_seed(0)
    names, text, y = torch.randint(40, (256, 2), generator=g), torch.randint(40, (256, 12), generator=g), torch.arange(256) % 3
    assert "the inputs are numbers of things (users, items)" in learned(Pairs(), names, y).missing["probe.learning"]
    assert "probe.learning" in learned(Pairs(), text, y).facts


def test_what_cannot_be_told() -> None:
    assert learned(Manual()).missing["probe.learning"] == "manual optimisation: the module takes its own steps"
    assert "names no predictions that could be held against" in learned(Margins()).missing["probe.learning"]


def test_too_little_to_hold_out() -> None:
    assert learned(Classifier(), batch_size=200).missing["probe.learning"] == "too little data: 1 batches"
    assert "were not found in the batch" in learned(Classifier(), paths=()).missing["probe.learning"]


class Fixed(Classifier):
    """Predicts what the batch says."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch[0] + 0 * self.net[0].bias.sum(), batch[1])  # type: ignore[operator]


def permuted(score: Tensor, target: Tensor, times: int = 4000) -> float:
    """The same number from permutations that were really made."""
    rng = np.random.default_rng(0)
    s, t = score.double().numpy(), target.double().numpy()
    s, t = s - s.mean(0), t - t.mean(0)
    draws = [float((s * t[rng.permutation(len(t))]).sum()) for _ in range(times)]
    return (float((s * t).sum()) - float(np.mean(draws))) / float(np.std(draws))


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["regression", "several values", "classes", "binary", "multilabel"])
def test_the_association_is_that_of_real_permutations(kind: str, strength: float) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(60, 3, generator=generator)
    y = torch.randint(3, (60,), generator=generator)
    hot = F.one_hot(y, 3).float()
    loss: Callable[[Tensor, Tensor], Tensor]
    if kind == "regression":
        target = noise[:, 0] + strength * y
        score, loss, one = y.float(), F.mse_loss, target[:, None]
        values = score[:, None]
    elif kind == "several values":
        target = noise + strength * hot
        score, loss, one, values = hot, F.mse_loss, target, hot
    elif kind == "classes":
        score, target, loss, one = strength * hot + noise, y, F.cross_entropy, hot
        values = score.softmax(1)
    elif kind == "binary":
        score, target, loss = strength * y.float() + noise[:, 0], (y > 1).float(), F.binary_cross_entropy_with_logits
        one, p = torch.stack([1 - target, target], 1), score.sigmoid()
        values = torch.stack([1 - p, p], 1)
    else:
        score, target, loss = strength * hot + noise, (hot + noise > 0.5).float(), F.binary_cross_entropy_with_logits
        one, values = target, score.sigmoid()
    found: list[tuple[float, int]] = []
    sandboxed(Fixed(loss), Single([score, target]), lambda sandbox, record: found.append(association(sandbox, sandbox.batches)))
    z, n = found[0]
    assert n == 60
    assert z == pytest.approx(permuted(values, one), rel=0.06, abs=0.06)


class Single:
    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __iter__(self) -> Any:
        yield self.batch


def test_no_association_without_predictions_or_spread() -> None:
    found: list[tuple[float, int]] = []
    constant = [torch.ones(20), torch.randn(20)]
    sandboxed(Fixed(F.mse_loss), Single(constant), lambda sandbox, record: found.append(association(sandbox, sandbox.batches)))
    sandboxed(
        Fixed(lambda a, b: F.hinge_embedding_loss(a, b.sign())),
        Single(constant),
        lambda sandbox, record: found.append(association(sandbox, sandbox.batches)),
    )
    assert found == [(0.0, 20), (0.0, 0)]


class Contrast(Classifier):
    """Each row is to find its own second view among those of the whole batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        first, second = (F.normalize(self(batch[0] + 0.1 * torch.randn_like(batch[0])), dim=1) for _ in range(2))
        return F.cross_entropy(first @ second.T / 0.7, torch.arange(len(first)))


def test_a_contrastive_batch_says_that_its_labels_number_the_rows() -> None:
    module = Contrast(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    record = Record()
    diagnosis = check(module, *loaders(*blobs(512), batch_size=64), record=record)
    assert record.facts["probe.overfit"]["numbered"] is True
    assert record.facts["probe.overfit"]["progress"] < 0.4
    assert not diagnosis.at_or_above("warning")
