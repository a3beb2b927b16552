"""Monitors in trainings of other kinds: several optimizers, steps that nobody sees, odd parameters, losses written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from diagnose.callbacks import Doctor, LossMonitor
from tests.callbacks.plain_training import Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


class Doubled(Net):
    """Two optimizers, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(m.parameters(), lr=0.1) for m in (self.first, self.second)]


def test_two_optimizers_stand_in_one_row() -> None:
    doctor = Doctor(probes=False, every_n_steps=1, strict=True)
    fit(Doubled(), doctor)
    assert len(doctor.record.series("grad_norm/total")) == 10
    assert np.isfinite(doctor.record.series("grad_norm/layers").value).all()
    assert doctor.record.series("zero_grad/carried").value.tolist() == [[0.0, 0.0]] * 9
    losses = doctor.record.series("train/loss").value
    assert (losses > 1.5).all(), "the sum of what was differentiated in a batch"


def test_hooks_on_a_loss_run_as_often_as_without() -> None:
    class Hooked(Net):
        runs = 0

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            scores = self(batch[0])
            loss: Tensor = (scores - batch[0][:, :3]).square().mean() + 0.001 * nn.functional.cross_entropy(scores, batch[1])
            loss.register_hook(self.count)  # type: ignore[no-untyped-call]
            return loss

        def count(self, gradient: Tensor) -> None:
            self.runs += 1

    module, doctor = Hooked(), Doctor(every_n_steps=1, probes=False, strict=True)
    fit(module, doctor)
    assert doctor.record.facts["task"]["kind"] == "regression", "the cross-entropy is a trifle beside the error written by hand"
    assert module.runs == 10


def test_gradients_that_are_scaled_by_hand_show_it() -> None:
    class Summed(Net):
        def __init__(self, divisor: int) -> None:
            super().__init__()
            self.automatic_optimization, self.divisor = False, divisor

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer: Any = self.optimizers()
            self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
            if batch_idx % 3 == 2:
                for p in self.parameters():
                    p.grad = None if p.grad is None else p.grad / self.divisor
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    left = []
    for divisor in (1, 4):
        torch.manual_seed(0)
        doctor = Doctor(probes=False, strict=True)
        fit(Summed(divisor), doctor)
        left.append(doctor.record.series("zero_grad/left").value)
    assert left[0].shape == (2, 1)
    assert left[1] * 4 == pytest.approx(left[0])


class Playing(Doubled):
    """Each optimizer has a loss of its own, and the second steps on odd batches only, or never."""

    def __init__(self, every: int = 2) -> None:
        super().__init__()
        self.every = every

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizers: Any = self.optimizers()
        first, second = optimizers
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        if self.every and batch_idx % self.every:
            second.zero_grad()
            self.manual_backward(3 * loss.detach() * self(batch[0]).square().mean())
            second.step()


def test_each_optimizer_has_its_own_loss_and_turns() -> None:
    doctor = Doctor(probes=False, every_n_steps=1, strict=True)
    fit(Playing(), doctor)
    first, second = doctor.record.series("loss/optimizers").value.T
    np.testing.assert_allclose(first[:5], doctor.record.series("train/watched_loss").value[:5], rtol=1e-6)
    assert np.isnan(second).tolist() == [True, False] * 5
    turns = [(t["name"], t["layers"], t["steps"]) for t in doctor.record.facts["turns"]]
    assert turns == [("SGD 0", ["first"], 10), ("SGD 1", ["second"], 5)]


def test_an_optimizer_that_never_steps_is_found() -> None:
    doctor = Doctor(probes=False, every_n_steps=1, options={"frozen-parameter": {"batches": 5}})
    fit(Playing(every=0), doctor)
    assert doctor.record.facts["turns"][1]["waiting"] == 9  # before the first backward pass there was no gradient
    (found,) = [f for f in doctor.diagnosis.findings if f.rule == "frozen-parameter"]
    assert found.message.startswith("the optimizer of second (SGD 1) never stepped")


class Raw(Net):
    """Steps an optimizer that Lightning does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.own: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.own = self.own or torch.optim.SGD(self.parameters(), lr=0.1)
        self.own.zero_grad()
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        loss.backward()  # type: ignore[no-untyped-call]
        self.own.step()
        return loss

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
def test_steps_that_nobody_sees_are_not_measured_and_do_no_harm() -> None:
    doctor = Doctor(probes=False, strict=True)
    fit(Raw(), doctor)
    assert "grad_norm/total" not in doctor.record
    assert len(doctor.record.series("train/loss")) == 10
    outcome = {o.code: o for o in doctor.diagnosis.outcomes}["T303"]
    assert outcome.reason == "grad_norm/total was not recorded"


@pytest.mark.filterwarnings("ignore:.*returned `None`")  # said once per process
def test_a_step_that_returns_nothing_is_skipped() -> None:
    class Skipping(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            return super().training_step(batch, batch_idx) if batch_idx % 2 else None

    doctor = Doctor(probes=False, strict=True)
    fit(Skipping(), doctor)
    assert len(doctor.record.series("train/loss")) == 5


def test_lazy_frozen_shared_and_sparse_parameters() -> None:
    class Odd(Net):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(7, 4, sparse=True)
            self.first = nn.LazyLinear(8)
            self.frozen = nn.Linear(8, 8).requires_grad_(False)
            self.again = self.second

        def forward(self, x: Tensor) -> Tensor:
            rows = self.table(x[:, 0].abs().long().clamp(max=6))
            scores: Tensor = self.again(torch.relu(self.frozen(self.first(rows + x))))
            return scores

    doctor = Doctor(probes=False, every_n_steps=1, strict=True)
    fit(Odd(), doctor)
    assert doctor.record.series("grad_norm/layers").labels == ("second", "table", "first")
    assert np.isfinite(doctor.record.series("grad_norm/layers").value).all()


def test_loaders_without_a_length() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            for _ in range(40):
                yield torch.randn(4), torch.tensor(1)

    doctor = Doctor(probes=False, strict=True)
    fit(Net(), doctor, loader=DataLoader(Stream(), batch_size=4))
    assert doctor.record.facts["run"]["batches_per_epoch"] is None


def test_bfloat16_and_a_second_fit() -> None:
    doctor = Doctor(probes=False, strict=True)
    fit(Net(), doctor, precision="bf16-mixed")
    first = doctor.record
    fit(Net(), doctor)
    assert len(first.series("train/loss")) == len(doctor.record.series("train/loss")) == 10
    assert doctor.record is not first


class Quantile(Net):
    """Its loss is written out, so no loss of torch is called."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        error = batch[1].float() - self(batch[0])[:, 0]
        return torch.maximum(0.9 * error, -0.1 * error).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log_dict({"valid/accuracy": 0.5, "valid/loss": self.training_step(batch, batch_idx)})


def test_the_loss_that_a_module_logs_where_none_can_be_watched() -> None:
    monitor = LossMonitor()
    trainer = fit(Quantile(), monitor, val=data(), max_epochs=3)
    series = monitor.record.series("val/loss")
    assert len(series) == 3
    assert series.value[-1] == pytest.approx(float(trainer.callback_metrics["valid/loss"]))
    assert monitor.record.facts["validation"] == {"loss": "", "calls": 0, "logged": "valid/loss"}
    assert "val/accuracy" not in monitor.record


def test_losses_without_predictions_have_a_validation_loss() -> None:
    class Triplets(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x = self(batch[0])
            self.log("val_loss", nn.functional.triplet_margin_loss(x, x.roll(1, 0), x.roll(2, 0)))

    monitor = LossMonitor()
    trainer = fit(Triplets(), monitor, val=data())
    assert monitor.record.series("val/loss").value[-1] == pytest.approx(float(trainer.callback_metrics["val_loss"]))


@pytest.mark.parametrize("ignored", [40, 20])
def test_ignored_targets_are_no_validation(ignored: int) -> None:
    class Masked(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            target = torch.where(batch[1] < 0, -100, batch[1])
            self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), target))

    held = data()
    held.dataset.tensors[1][:ignored] = -1  # type: ignore[attr-defined]
    monitor = LossMonitor()
    fit(Masked(), monitor, val=held)
    if ignored == 40:
        assert "val/loss" not in monitor.record
    else:
        assert np.isfinite(monitor.record.series("val/loss").value).all()


def test_layers_that_thaw_as_a_group_of_their_own() -> None:
    class Thawing(BaseFinetuning):
        def freeze_before_training(self, pl_module: Any) -> None:
            self.freeze(pl_module.first)

        def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.first, optimizer, lr=0.025)

    class Frozen(Net):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=self.lr)

    doctor = Doctor(probes=False, every_n_steps=1, strict=True)
    fit(Frozen(), Thawing(), doctor, max_epochs=2)
    rates = doctor.record.series("lr")
    assert rates.labels == ("SGD 0, group 0", "SGD 0, group 1")
    np.testing.assert_array_equal(rates.value[:, 0], 0.1)
    assert np.isnan(rates.value[:10, 1]).all()
    np.testing.assert_array_equal(rates.value[10:, 1], 0.025)
    assert [o.rule for o in doctor.diagnosis.outcomes if o.status == "crashed"] == []


class Scheduled(Doubled):
    """A schedule per optimizer, or one; both are stepped twice per batch."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizers: Any = self.optimizers()
        schedules: Any = self.lr_schedulers()
        self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
        for optimizer, schedule in zip(optimizers, schedules, strict=True) if self.count > 1 else ((optimizers, schedules),):
            optimizer.step()
            schedule.step()
            schedule.step()

    def configure_optimizers(self) -> Any:
        groups = [self.first.parameters(), self.second.parameters()] if self.count > 1 else [self.parameters()]
        optimizers = [torch.optim.SGD(group, lr=0.1) for group in groups]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for o in optimizers]


@pytest.mark.parametrize("count", [1, 2])
def test_steps_of_schedules_are_counted_beside_those_of_their_optimizers(count: int) -> None:
    doctor = Doctor(probes=False, strict=True)
    fit(Scheduled(count), doctor)
    facts = doctor.record.facts
    assert [s["stepped"] for s in facts["run"]["schedulers"]] == [20] * count
    if count == 1:
        assert facts["run"]["schedulers"][0]["updates"] == 10
    else:
        assert [s["of"] for s in facts["run"]["schedulers"]] == [turn["name"] for turn in facts["turns"]]
        assert [turn["steps"] for turn in facts["turns"]] == [10, 10]


def test_a_training_that_fails_before_it_begins_is_recorded() -> None:
    class Broken(Net):
        def on_fit_start(self) -> None:
            raise ValueError("not today")

    doctor = Doctor(probes=False, strict=True)
    with pytest.raises(ValueError, match="not today"):
        fit(Broken(), doctor)
    assert doctor.record.facts["run"]["interrupted"] == "ValueError: not today"
