"""Losses as training and validation see them: of any reduction, of several, and of tensors that are no ordinary ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnose.callbacks import ConfusionMatrix, Doctor, HiddenTSNE, LossMonitor
from diagnose.record import EVENTS
from tests.callbacks.plain_training import Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


class Labelled(Tensor):
    """A tensor that forgets what it needs, as those of libraries for units and labels do."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.to, Tensor.reshape, torch.cat):
            raise AttributeError("'Labelled' object has no attribute '_labels'")
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


def test_tensors_that_forbid_what_is_done_with_numbers_are_measured_as_ordinary_ones() -> None:
    class Labels(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            scores = torch.relu(self(batch[0].as_subclass(Labelled)))
            return nn.functional.cross_entropy(scores, batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

    doctor, hidden = Doctor(every_n_steps=1, strict=True, probes=False), HiddenTSNE(strict=True)
    fit(Labels(), doctor, hidden, ConfusionMatrix(strict=True), val=data())
    assert isinstance(Labels().training_step(next(iter(data())), 0), Labelled)
    assert len(doctor.record.series("grad_norm/total")) == 10
    assert len(doctor.record.series("train/watched_loss")) == 8
    assert np.isfinite(doctor.record.series("activation/mean").value).all()
    assert len(doctor.record.series("val/loss")) == 1
    assert hidden.embeddings
    assert doctor.diagnosis.outcomes


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["cross_entropy", "mse_loss"])
def test_a_loss_is_the_same_in_training_and_in_validation_however_it_is_reduced(kind: str, reduction: str) -> None:
    class Reduced(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            target = batch[1] if kind == "cross_entropy" else nn.functional.one_hot(batch[1], 3).float()
            loss: Tensor = getattr(nn.functional, kind)(self(batch[0]), target, reduction=reduction)
            return loss.sum()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

    monitor = LossMonitor(every_n_steps=1, strict=True)
    fit(Reduced(lr=0.0), monitor, val=data())
    assert monitor.record.series("train/watched_loss").value.mean() == pytest.approx(monitor.record.series("val/loss").value[0], rel=1e-5)


def test_of_several_losses_the_same_is_watched_in_training_and_in_validation() -> None:
    class Two(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x = batch[0].detach().requires_grad_()
            with torch.enable_grad():  # as physics-informed networks do in validation
                slope = torch.autograd.grad(self(x).sum(), x, create_graph=True)[0]
            first = nn.functional.mse_loss(self(batch[0]), torch.full((len(x), 3), 5.0))
            return first + nn.functional.mse_loss(slope[:, :3], torch.zeros(len(x), 3))

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

    module, monitor = Two(lr=0.0), LossMonitor(every_n_steps=1, strict=True)
    fit(module, monitor, val=data())
    x = data().dataset.tensors[0]  # type: ignore[attr-defined]
    expected = nn.functional.mse_loss(module(x), torch.full((40, 3), 5.0)).item()
    assert monitor.record.series("val/loss").value[0] == pytest.approx(expected, rel=1e-5)
    assert monitor.record.series("train/watched_loss").value.mean() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_scores_that_a_step_works_on_in_place_are_counted_as_they_were(stage: str) -> None:
    class Hasty(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.binary_cross_entropy_with_logits(self(batch[0])[:, 0], (batch[1] == 0).float())

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            scores = self(batch[0])[:, 0]
            nn.functional.binary_cross_entropy_with_logits(scores, (batch[1] == 0).float())
            scores.sigmoid_()

        test_step = validation_step

    module, matrix, monitor = Hasty(lr=0.0), ConfusionMatrix(strict=True), LossMonitor(strict=True)
    trainer = fit(module, matrix, monitor, val=data())
    if stage != "fit":
        getattr(trainer, stage)(module, data(), verbose=False)
    x, y = data().dataset.tensors  # type: ignore[attr-defined]
    predicted, true = (module(x)[:, 0] > 0).long(), (y == 0).long()
    expected = [[int(((true == a) & (predicted == b)).sum()) for b in (0, 1)] for a in (0, 1)]
    assert 0 < predicted.sum() < 40
    assert matrix.matrices["test" if stage == "test" else "val"].tolist() == expected
    right = (expected[0][0] + expected[1][1]) / 40
    assert monitor.record.series("val/accuracy").value[0] == pytest.approx(right, rel=1e-6)


def test_a_loss_that_becomes_another_function_is_noted() -> None:
    class Phases(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if self.current_epoch < 2:
                return nn.functional.mse_loss(self(batch[0]), torch.zeros(len(batch[0]), 3))
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

    monitor, steady = LossMonitor(every_n_steps=1, strict=True), LossMonitor(every_n_steps=1, strict=True)
    fit(Phases(), monitor, max_epochs=4)
    fit(Net(), steady, max_epochs=4)
    batches = len(monitor.record.series("train/loss")) // 4
    assert monitor.record.facts["loss_changed"] == {"to": "cross_entropy", "batch": 2 * batches, "times": 1}
    assert "loss_changed" not in steady.record


def test_of_losses_that_take_turns_ten_changes_are_noted(tmp_path: Path) -> None:
    class Turns(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if batch_idx % 2:
                return nn.functional.mse_loss(self(batch[0]), torch.zeros(len(batch[0]), 3))
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

    monitor = LossMonitor(record=tmp_path, every_n_steps=1, strict=True)
    fit(Turns(), monitor, max_epochs=12)
    assert monitor.record.facts["loss_changed"]["times"] == 10
    assert (tmp_path / EVENTS).read_text().count('"loss_changed"') == 10


@pytest.mark.parametrize("masked", [True, False])
def test_of_a_masked_loss_the_logged_one_is_what_validation_is_judged_by(masked: bool) -> None:
    class Masked(Net):
        def loss(self, batch: Any) -> Tensor:
            each = nn.functional.mse_loss(self(batch[0]), torch.ones(len(batch[0]), 3), reduction="none")
            mask = torch.tensor([1.0, 0.0, 0.0]) if masked else torch.ones(3)
            return (each * mask).sum() / (mask.sum() * len(each))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.loss(batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

    monitor = LossMonitor(every_n_steps=1, strict=True)
    trainer = fit(Masked(), monitor, val=data())
    assert monitor.record.series("val/loss").value[-1] == pytest.approx(float(trainer.callback_metrics["val_loss"]), rel=1e-5)
    assert ("logged" in monitor.record.facts["validation"]) is masked


def test_batches_of_different_numbers_of_classes_are_summed_without_them() -> None:
    """Contrasts within a batch: each row is a class of its own, and the last batch is smaller."""

    class Pairs(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            scores = self(batch[0]) @ self(batch[0].flip(1)).T
            return nn.functional.cross_entropy(scores, torch.arange(len(scores)))

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.training_step(batch, batch_idx))

    monitor, loader = LossMonitor(every_n_steps=1, strict=True), data(rows=10)
    module = Pairs(lr=0.0)
    fit(module, monitor, loader=loader, val=loader)
    assert monitor.record.series("val/loss").value[0] == pytest.approx(
        sum(module.training_step(batch, 0).item() * len(batch[0]) for batch in loader) / 10, rel=1e-5
    )
    assert "val/predicted" not in monitor.record


def test_predictions_of_a_validation_are_counted_by_class() -> None:
    monitor, loader = LossMonitor(every_n_steps=1, strict=True), data()
    module = Net(lr=0.0)
    fit(module, monitor, val=loader)
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    for name, classes in (("val/predicted", module(x).argmax(1)), ("val/actual", y)):
        assert monitor.record.series(name).value.tolist() == [torch.bincount(classes, minlength=3).tolist()]


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize(("divisor", "share"), [(1, 1.0), (4, 0.25)])
def test_passes_that_each_follow_a_call_of_the_same_loss_are_held_against_them(divisor: int, share: float, odd: bool) -> None:
    class OneByOne(Net):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()
            optimizer.zero_grad()  # type: ignore[union-attr]
            for x, y in zip(*batch, strict=True):
                self.manual_backward(nn.functional.cross_entropy(self(x), y) / divisor)
            if odd:
                self.manual_backward(nn.functional.mse_loss(self(batch[0]), batch[0][:, :3]))
            optimizer.step()  # type: ignore[union-attr]

    monitor = LossMonitor(every_n_steps=1, strict=True)
    fit(OneByOne(), monitor)
    if odd:  # passes of different losses are not one that adds up
        assert "backward/share" not in monitor.record
    else:
        assert monitor.record.series("backward/share").value == pytest.approx([share] * 10)
        assert monitor.record.series("backward/passes").value == pytest.approx([4] * 10)
