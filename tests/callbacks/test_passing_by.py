"""Batches that are passed by: one hook counts them, keeps their loss and sees that it is finite; the record is as if each were followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from diagnose.callbacks import Doctor
from diagnose.experiments.replay import replay
from diagnose.record import Record
from tests.callbacks.plain_training import QUIET, Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")

BATCHES = 160
AROUND = ("on_train_batch_start", "on_train_batch_end")


class Followed(Doctor):
    """A doctor of which every batch is followed, since a hook of it is the user's own."""

    def on_train_batch_end(self, *args: Any) -> None:
        super().on_train_batch_end(*args)


class Watch(Callback):
    """Before each backward pass: whether the batch is passed by."""

    def __init__(self, doctor: Doctor) -> None:
        self.doctor, self.passed = doctor, list[bool]()

    def on_before_backward(self, *args: Any) -> None:
        self.passed.append(not callable(self.doctor.on_train_batch_start))


def long(batches: int = BATCHES) -> Any:
    return data(4 * batches)


def trained(doctor: Doctor, module: Net | None = None, **settings: Any) -> list[bool]:
    watch = Watch(doctor)
    torch.manual_seed(1)
    fit(module or Net(), watch, doctor, loader=long(), **settings)
    return watch.passed


def rows(doctor: Doctor) -> dict[str, list[Any]]:
    names = [name for name in doctor.record.names() if not name.startswith(("time/", "memory/"))]
    found = {name: doctor.record.series(name) for name in names}
    return {name: [s.step.tolist(), s.epoch.tolist(), s.batch.tolist(), np.asarray(s.value).tolist()] for name, s in found.items()}


@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 3}, {"max_epochs": 2, "limit_train_batches": 70}], ids=str)
def test_the_record_is_the_one_of_batches_that_are_followed(settings: dict[str, Any]) -> None:
    doctor, followed = Doctor(probes=False), Followed(probes=False)
    passed = trained(doctor, **settings)
    assert not any(passed[:13])  # each of the first is measured
    assert sum(passed) > len(passed) / 3
    assert not any(trained(followed, **settings))
    assert repr(rows(doctor)) == repr(rows(followed))
    assert len(doctor.record.series("train/loss")) == len(passed)
    assert all(callable(getattr(doctor, hook)) for hook in AROUND)


def test_batches_that_are_passed_by_are_timed_now_and_then() -> None:
    doctor = Doctor(probes=False)
    trained(doctor, max_epochs=3)
    times = doctor.record.series("time/step")
    late = np.asarray(times.value)[times.batch > 20]
    assert len(late) > 3
    assert (late > 0).all()


class Drops(Net):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.drop(x))


class ByHand(Net):
    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = super().training_step(batch, batch_idx)
        assert loss is not None
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


@pytest.mark.parametrize("module", [Drops, ByHand])
def test_steps_that_draw_random_numbers_and_manual_optimisation_are_followed(module: type[Net]) -> None:
    assert not any(trained(Doctor(probes=False), module()))
    assert not any(trained(Doctor(probes=False, on_error="raise")))


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_skipped_batches_are_counted() -> None:
    class Skips(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            return None if batch_idx % 7 == 3 else super().training_step(batch, batch_idx)

    doctor = Doctor(probes=False)
    trained(doctor, Skips())
    assert doctor.record.series("train/loss").batch.tolist() == [i for i in range(BATCHES) if i % 7 != 3]


class Poisoned(Net):
    """Its loss is not a number at one batch."""

    def __init__(self, at: int, raises: bool = False) -> None:
        super().__init__()
        self.at, self.raises = at, raises
        self.save_hyperparameters()
        self.before: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        assert loss is not None
        if batch_idx == self.at:
            self.before = {name: value.clone() for name, value in self.state_dict().items()}
            loss = loss * torch.log(-loss.detach())
        return loss

    def on_after_backward(self) -> None:
        if self.raises and self.before is not None:
            raise ArithmeticError("mine")


def poisoned_at(batches: list[bool]) -> int:
    return next(i for i, passed in enumerate(batches) if passed and i > 60)


def test_the_weights_of_a_step_that_is_not_finite_are_kept_till_its_batch_is_at_hand(tmp_path: Path) -> None:
    at = poisoned_at(trained(Doctor(probes=False)))
    doctor, module = Doctor(probes=False, reproductions=tmp_path), Poisoned(at)
    passed = trained(doctor, module)
    assert passed[at]
    fact = doctor.record.facts["nonfinite"]
    assert (fact["what"], fact["operation"], fact["batch"], fact["index"], fact["step"]) == ("activation", "log", at, at, at)
    assert not any(torch.isfinite(p).all() for p in module.parameters())
    saved = torch.load(fact["file"], weights_only=True)
    assert all(torch.equal(saved["weights"][name], value) for name, value in module.before.items())
    batch = list(long())[at]
    assert all(torch.equal(kept, own) for kept, own in zip(saved["batch"], batch, strict=True))
    assert replay(fact["file"], Poisoned(at)).count("log") == 2


def test_a_training_that_breaks_off_in_that_step_names_it(tmp_path: Path) -> None:
    at = poisoned_at(trained(Doctor(probes=False)))
    doctor = Doctor(probes=False, reproductions=tmp_path)
    with pytest.raises(ArithmeticError, match="mine"):
        fit(Poisoned(at, raises=True), doctor, loader=long())
    fact = doctor.record.facts["nonfinite"]
    assert (fact["what"], fact["batch"], fact["reason"]) == ("loss", at, "training broke off in this step")
    assert [f.rule for f in doctor.diagnosis.at_or_above("error")] == ["non-finite"]
    assert not list(tmp_path.iterdir())


def test_a_training_that_is_gone_on_with_has_each_batch_once(tmp_path: Path) -> None:
    class Saves(Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 100:
                trainer.save_checkpoint(tmp_path / "a.ckpt")
                raise KeyError("mine")

    first, second = Doctor(probes=False, record=tmp_path / "record"), Doctor(probes=False, record=tmp_path / "record")
    with pytest.raises(KeyError, match="mine"):
        fit(Net(), first, Saves(), loader=long())
    with pytest.warns(UserWarning, match="You're resuming from a checkpoint that ended before the epoch ended"):
        Trainer(**QUIET, max_epochs=1, callbacks=[second]).fit(Net(), long(), ckpt_path=tmp_path / "a.ckpt")
    assert Record.read(tmp_path / "record").series("train/loss").batch.tolist() == list(range(BATCHES))
