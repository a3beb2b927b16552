from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.anatomy import examine
from diagnose.experiments.check import check
from diagnose.experiments.learning import association, learn
from diagnose.experiments.overfit import STEPS, lowest, overfit_batch, train
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall
from diagnose.record import Record
from tests.experiments.odd import Classifier, Regressor, blobs, loaders, sandboxed


def overfitted(module: Any, *tensors: Tensor) -> Record:
    def use(sandbox: Sandbox, record: Record) -> None:
        call = examine(sandbox, Record()).call
        assert call is not None
        overfit_batch(sandbox, call, record)

    return sandboxed(module, loaders(*tensors)[0], use)


def learned(module: Any, *tensors: Tensor, paths: tuple[str, ...] = ("batch[1]",), batch_size: int = 16) -> Record:
    train_loader, _ = loaders(*tensors, batch_size=batch_size)
    return sandboxed(module, train_loader, lambda sandbox, record: learn(sandbox, paths, record), count=24)


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


class Manual(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
        optimizer.step()  # type: ignore[union-attr]


def test_what_cannot_be_trained() -> None:
    assert overfitted(Manual()).missing["probe.overfit"] == "manual optimisation: the module takes its own steps"
    assert learned(Manual()).missing["probe.learning"] == "manual optimisation: the module takes its own steps"

    class Margins(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.multilabel_margin_loss(self(batch[0]), batch[1])

    x, y = blobs()
    several = torch.stack([y, torch.full_like(y, -1), torch.full_like(y, -1)], 1)
    assert overfitted(Margins(), x, several).missing["probe.overfit"] == "the floor of multilabel_margin_loss is not known"
    assert "names no predictions that could be held against" in learned(Margins(), x, several).missing["probe.learning"]

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


# Learning


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
