from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.anatomy import examine
from diagnose.experiments.overfit import STEPS, lowest, overfit_batch, train
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall
from diagnose.record import Record
from tests.experiments.odd import Classifier, Manual, Margins, Regressor, blobs, loaders, sandboxed


def overfitted(module: Any, *tensors: Tensor) -> Record:
    def use(sandbox: Sandbox, record: Record) -> None:
        call = examine(sandbox, Record()).call
        assert call is not None
        overfit_batch(sandbox, call, record)

    return sandboxed(module, loaders(*tensors)[0], use)


def test_a_sound_network_learns_its_batch() -> None:
    fact = overfitted(Classifier()).facts["probe.overfit"]
    assert fact["progress"] > 0.85
    assert (fact["floor"], fact["batch_size"], fact["targets"], fact["weights"], fact["sole"]) == (0.0, 16, 16, 387, True)
    assert fact["steps"] == len(fact["losses"]) < STEPS
    assert fact["initial"] == fact["losses"][0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_inputs_with_different_targets_have_a_floor(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0]], dtype=dtype)
    y, scores, values = torch.tensor([0, 2, 1, 2]), torch.zeros(4, 3), torch.tensor([1.0, 5.0, 3.0, 5.0])
    assert lowest([x, y], LossCall("cross_entropy", scores, y, None, {"reduction": "mean"})) == pytest.approx(math.log(2) / 2)
    assert lowest([x, values], LossCall("mse_loss", values, values, None, {"reduction": "mean"})) == pytest.approx(0.5)
    assert lowest([x[[0, 1]], y[:2]], LossCall("cross_entropy", scores[:2], y[:2], None, {"reduction": "mean"})) == 0.0
    assert lowest([x, y], LossCall("cross_entropy", scores, y, None, {"reduction": "sum"})) == 0.0


class Velocity(Regressor):
    """Flow matching: what is to be predicted is the way from noise, which is drawn at each step, to the data."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, end = batch
        start, t = torch.randn_like(end), torch.rand(len(end), 1)
        return F.mse_loss(self(x + t * end + (1 - t) * start), end - start)


class Masked(Classifier):
    """What is hidden, other places at each step, is told from the rest, and drawn at random: only by heart can it be known."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, _ = batch
        hidden = torch.rand(x.shape) < 0.3
        scores = self.net(torch.where(hidden, 9.0, x)).reshape(*x.shape, 2)
        return F.cross_entropy(scores[hidden], (x[hidden] > 0).long())


def test_places_that_are_masked_anew_at_each_step_are_held_fixed() -> None:
    net = (nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 16))
    assert (
        overfitted(Masked(*net), torch.randn(128, 8, generator=torch.Generator().manual_seed(0)), blobs()[1]).facts["probe.overfit"][
            "progress"
        ]
        > 0.85
    )


class Permuted(Regressor):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.mse_loss(self(batch[0]), batch[1][torch.randperm(len(batch[1]))])


def test_targets_that_are_drawn_anew_at_each_step_are_held_fixed() -> None:
    x, y = blobs()
    fact = overfitted(Velocity(), x, y[:, None].float()).facts["probe.overfit"]
    assert fact["progress"] > 0.85


class Chased(Regressor):
    """Its targets hold what it answers itself to another input, as those of a critic do."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, reward = batch
        return F.mse_loss(self(x), reward + 2.0 * self(x + 0.1).detach())


def test_targets_that_the_network_makes_itself_have_no_known_floor() -> None:
    x, y = blobs()
    record = overfitted(Chased(), x, y[:, None].float())
    assert "probe.overfit" not in record
    assert "made of what is trained, and move with it" in record.missing["probe.overfit"]


def test_targets_that_are_only_permuted_are_tried() -> None:
    x, y = blobs()
    assert overfitted(Permuted(), x, y[:, None].float()).facts["probe.overfit"]["progress"] < 0.4


def test_label_smoothing_has_a_floor() -> None:
    class Smoothed(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.2)

    fact = overfitted(Smoothed()).facts["probe.overfit"]
    assert fact["floor"] > 0.4
    assert fact["progress"] > 0.85


def test_a_regression_learns_its_batch() -> None:
    x, _ = blobs()
    assert overfitted(Regressor(), x, x[:, :1] * x[:, 1:2]).facts["probe.overfit"]["progress"] > 0.85


class Blind(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(torch.zeros_like(x))
        return y


def test_a_network_that_sees_nothing_does_not() -> None:
    fact = overfitted(Blind()).facts["probe.overfit"]
    assert abs(fact["progress"]) < 0.1
    assert fact["steps"] == STEPS


def test_further_terms_are_told() -> None:
    class Penalised(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) + sum(p.square().sum() for p in self.parameters())

    assert overfitted(Penalised()).facts["probe.overfit"]["sole"] is False


def test_what_cannot_be_trained() -> None:
    assert overfitted(Manual()).missing["probe.overfit"] == "manual optimisation: the module takes its own steps"

    assert overfitted(Margins()).missing["probe.overfit"] == "the floor of multilabel_margin_loss is not known"

    class Explodes(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.count = getattr(self, "count", 0) + 1
            return super().training_step(batch, batch_idx) * (1 if self.count < 4 else float("nan"))

    assert overfitted(Explodes()).missing["probe.overfit"] == "the loss has no gradient, or does not stay finite"


def test_sparse_gradients_are_trained_as_well() -> None:
    class Words(Classifier):
        def __init__(self) -> None:
            super().__init__(nn.EmbeddingBag(30, 16, sparse=True), nn.Linear(16, 3))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    y = torch.arange(128) % 3
    tokens = torch.randint(0, 10, (128, 5)) + 10 * y[:, None]
    assert overfitted(Words(), tokens, y).facts["probe.overfit"]["progress"] > 0.85


def test_training_leaves_dropout_in_its_mode_and_ends_early() -> None:
    module = Classifier(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Dropout(0.2), nn.Linear(32, 3))
    module.net[3].eval()

    def use(sandbox: Sandbox, record: Record) -> None:
        losses = train(sandbox, sandbox.batches[:1], 50, 0.01, lambda loss: loss < 0.5)
        assert losses[-1] < 0.5 <= losses[-2]
        assert isinstance(sandbox.module, Classifier)
        assert [m.training for m in sandbox.module.net][2:4] == [True, False]

    sandboxed(module, loaders()[0], use)
