"""Monitors in real trainings: right numbers, and no failure of theirs reaches the training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from diagnose.callbacks import ActivationMonitor, Doctor, GradientMonitor, LossMonitor, UpdateMonitor
from diagnose.callbacks.notes import Cadence
from diagnose.record import Record

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Net(LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.lr = lr
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(torch.relu(self.first(x)))
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def data(rows: int = 40, batch: int = 4) -> DataLoader[Any]:
    torch.manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(rows, 4), torch.randint(0, 3, (rows,))), batch_size=batch)


def fit(module: LightningModule, *callbacks: lightning.Callback, loader: Any = None, val: Any = None, **settings: Any) -> Trainer:
    trainer = Trainer(**{**QUIET, "max_epochs": 1, **settings}, callbacks=list(callbacks))
    trainer.fit(module, loader if loader is not None else data(), val)
    return trainer


def by_hand(module: Net, batches: list[Any]) -> list[float]:
    """Norms of the gradients of plain descent, written out."""
    norms = []
    optimizer = torch.optim.SGD(module.parameters(), lr=module.lr)
    for group in batches:
        optimizer.zero_grad()
        for batch in group:
            (nn.functional.cross_entropy(module(batch[0]), batch[1]) / len(group)).backward()  # type: ignore[no-untyped-call]
        norms.append(float(torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None]).norm()))
        optimizer.step()
    return norms


def twin(module: Net) -> Net:
    copied = Net(module.lr)
    copied.load_state_dict(module.state_dict())
    return copied


def test_gradient_norms_are_those_of_a_loop_written_by_hand() -> None:
    module, monitor = Net(), GradientMonitor(every_n_steps=1)
    expected = by_hand(twin(module), [[b] for b in data()])
    fit(module, monitor)
    np.testing.assert_allclose(monitor.record.series("grad_norm/total").value, expected, rtol=1e-5)
    layers = monitor.record.series("grad_norm/layers")
    assert layers.labels == ("first", "second")
    np.testing.assert_allclose(np.sqrt((layers.value**2).sum(1)), expected, rtol=1e-5)


def test_accumulated_gradients_are_measured_once_per_step() -> None:
    module, monitor = Net(), GradientMonitor(every_n_steps=1)
    batches = list(data())
    expected = by_hand(twin(module), [batches[:4], batches[4:8]])
    fit(module, monitor, accumulate_grad_batches=4)
    series = monitor.record.series("grad_norm/total")
    assert len(series) == 3
    np.testing.assert_allclose(series.value[:2], expected, rtol=1e-5)


def test_norms_before_and_after_clipping() -> None:
    monitor = GradientMonitor(every_n_steps=1)
    fit(Net(), monitor, gradient_clip_val=0.01)
    before, after = (monitor.record.series(f"grad_norm/{name}").value for name in ("total", "clipped"))
    assert (before > 0.05).all()
    np.testing.assert_allclose(after, 0.01, rtol=1e-3)
    np.testing.assert_allclose(monitor.record.series("clip/ratio").value, after / before, rtol=1e-5)


def test_without_clipping_there_is_nothing_after_it() -> None:
    monitor = GradientMonitor(every_n_steps=1)
    fit(Net(), monitor)
    assert "grad_norm/clipped" not in monitor.record


def test_an_update_is_rate_times_gradient_over_weight() -> None:
    gradients, updates = GradientMonitor(every_n_steps=1), UpdateMonitor(every_n_steps=1)
    fit(Net(lr=0.01), gradients, updates)
    expected = 0.01 * gradients.record.series("grad_norm/layers").value / updates.record.series("weight_norm/layers").value
    np.testing.assert_allclose(updates.record.series("update_ratio/layers").value, expected, rtol=1e-2)


def test_how_far_the_weights_are_is_recorded_until_they_move() -> None:
    monitor, still = UpdateMonitor(every_n_steps=1), UpdateMonitor(every_n_steps=1)
    fit(Net(lr=0.01), monitor)
    fit(Net(lr=0.0), still)
    (moved,) = monitor.record.series("weights/moved").value
    assert moved > 0
    assert still.record.series("weights/moved").value.tolist() == [0.0] * 11


def test_steps_that_are_never_made_are_found() -> None:
    class Warming(Net):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer_closure()

    doctor = Doctor(probes=False, options={"frozen-parameter": {"batches": 10}})
    fit(Warming(), doctor)
    (found,) = [f for f in doctor.diagnosis.findings if f.rule == "frozen-parameter"]
    assert "no optimizer was seen to step" in found.message


def test_losses_are_those_of_every_batch_and_not_divided() -> None:
    module, monitor = Net(lr=0.0), LossMonitor()
    expected = [nn.functional.cross_entropy(module(b[0]), b[1]).item() for b in data()]
    fit(module, monitor, accumulate_grad_batches=4)
    np.testing.assert_allclose(monitor.record.series("train/loss").value, expected, rtol=1e-5)
    assert monitor.record.series("train/loss").batch.tolist() == list(range(10))


def test_validation_is_weighted_by_samples() -> None:
    module, monitor = Net(lr=0.0), LossMonitor()
    held = data(rows=22)
    x, y = held.dataset.tensors  # type: ignore[attr-defined]
    scores = module(x).detach()
    fit(module, monitor, val=held)
    assert monitor.record.series("val/loss").value[0] == pytest.approx(nn.functional.cross_entropy(scores, y).item(), rel=1e-5)
    assert monitor.record.series("val/accuracy").value[0] == pytest.approx((scores.argmax(1) == y).float().mean().item(), rel=1e-5)


def test_functional_activations_are_named_after_the_layer_before() -> None:
    monitor = ActivationMonitor(every_n_steps=1)
    fit(Net(), monitor, loader=data(batch=10))
    assert monitor.record.series("activation/dead").labels == ("first → relu",)
    assert len(monitor.record.series("activation/mean")) == 4


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


def test_a_failing_instrument_switches_itself_off_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("diagnose.callbacks.updates.each_norm", lambda tensors: 1 / 0)
    doctor = Doctor(probes=False)
    with caplog.at_level(logging.WARNING, "diagnose"):
        fit(Net(), doctor)
    (said,) = [r.message for r in caplog.records if "switched itself off" in r.message]
    assert said.startswith("Updates failed in before_step (ZeroDivisionError: division by zero) and switched itself off")
    assert "ZeroDivisionError" in doctor.record.missing["update_ratio/layers"]
    assert len(doctor.record.series("train/loss")) == 10


def test_strict_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagnose.callbacks.updates.each_norm", lambda tensors: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(Net(), Doctor(probes=False, strict=True))


def test_compiled_modules_are_listed_as_not_monitored() -> None:
    module, monitor = Net(), ActivationMonitor()
    module.first.compile(backend="eager")
    fit(module, monitor)
    assert monitor.record.missing["activation/dead"] == "not monitored: torch.compile holds first"


def test_no_mode_and_no_hook_stays_after_an_exception() -> None:
    class Breaking(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            self(batch[0])
            raise KeyError("mine")

    module = Breaking()
    with pytest.raises(KeyError, match="mine"):
        fit(module, Doctor(probes=False, every_n_steps=1))
    assert torch._C._len_torch_function_stack() == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_folder_holds_the_record(tmp_path: Path) -> None:
    doctor = Doctor(probes=False, record=tmp_path / "record")
    fit(Net(), doctor)
    doctor.record.close()
    read = Record.read(tmp_path / "record")
    np.testing.assert_allclose(read.series("train/loss").value, doctor.record.series("train/loss").value, rtol=1e-6)


def test_resuming_continues_where_it_stopped(tmp_path: Path) -> None:
    first = Doctor(probes=False)
    trainer = fit(Net(), first)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    second = Doctor(probes=False)
    Trainer(**{**QUIET, "max_epochs": 2}, callbacks=[second]).fit(Net(), data(), ckpt_path=tmp_path / "a.ckpt")
    assert second.record.series("train/loss").batch.tolist() == list(range(10, 20))


def test_every_n_steps_must_be_positive() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be a positive number of optimizer steps or None, got 0"):
        GradientMonitor(every_n_steps=0)


def test_the_cadence_thins_out() -> None:
    cadence, position, places = Cadence(), 0, []
    while position < 1000:
        places.append(position)
        position = cadence.after(position)
    assert places[:12] == list(range(12))
    assert len(places) < 60
    assert places[-1] - places[-2] == 50


def test_a_chosen_cadence_is_kept_from_the_beginning() -> None:
    monitor = GradientMonitor(every_n_steps=4)
    fit(Net(), monitor)
    assert monitor.record.series("grad_norm/total").step.tolist() == [0, 4, 8]


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
