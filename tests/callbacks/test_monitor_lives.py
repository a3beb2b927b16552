"""Monitors from start to end: what fails in them, what they leave, where they keep it, and when they look."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from diagnose.callbacks import ActivationMonitor, Doctor, GradientMonitor, LossMonitor
from diagnose.callbacks.notes import Cadence
from diagnose.record import Record
from tests.callbacks.plain_training import QUIET, Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


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


def test_another_run_into_the_same_folder_does_not_mix_with_the_first(tmp_path: Path) -> None:
    for epochs in (2, 1, 1):
        fit(Net(), Doctor(probes=False, record=tmp_path / "record", strict=True), max_epochs=epochs)
    assert sorted(file.name for file in (tmp_path / "record").glob("*.jsonl")) == ["events-1.jsonl", "events-2.jsonl", "events.jsonl"]
    assert Record.read(tmp_path / "record").series("train/loss").batch.tolist() == list(range(10))
    (tmp_path / "record" / "events-1.jsonl").replace(tmp_path / "record" / "events.jsonl")
    assert Record.read(tmp_path / "record").series("train/loss").batch.tolist() == list(range(20))


def test_callbacks_that_name_the_same_folder_write_one_record(tmp_path: Path) -> None:
    for _ in range(2):
        fit(Net(), *(kind(record=tmp_path / "record", every_n_steps=1, strict=True) for kind in (LossMonitor, GradientMonitor)))
    for name in ("events-1.jsonl", "events.jsonl"):
        (tmp_path / "record" / name).replace(tmp_path / "record" / "events.jsonl")
        read = Record.read(tmp_path / "record")
        assert [read.series(name).batch.tolist() for name in ("train/loss", "grad_norm/total")] == [list(range(10))] * 2


class Killed(Net):
    """Keeps a checkpoint after some steps, and ends some steps later."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_train_batch_end(self, *args: Any) -> None:
        if self.trainer.global_step == 12:
            self.trainer.save_checkpoint(self.path)
        if self.trainer.global_step == 17:
            raise RuntimeError("killed")


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_killed_run_that_is_gone_on_with_has_each_batch_once(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.ckpt"
    with pytest.raises(RuntimeError, match="killed"):
        fit(Killed(checkpoint), Doctor(probes=False, record=tmp_path / "record"), max_epochs=2)
    with (tmp_path / "record" / "events.jsonl").open("a") as file:
        file.write('{"at": [17, 1, 17], "ro')
    resumed = Doctor(probes=False, record=tmp_path / "record", strict=True)
    Trainer(**{**QUIET, "max_epochs": 2}, callbacks=[resumed]).fit(Net(), data(), ckpt_path=checkpoint)
    record = Record.read(tmp_path / "record")
    assert record.series("train/loss").batch.tolist() == list(range(20))
    assert not record.facts["run"].get("interrupted")


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


class Hooks(Callback):
    """At the end of each batch: whether a monitor measured it, and which of its hooks can be called."""

    names = ("on_train_batch_start", "on_before_zero_grad", "on_after_backward", "on_before_optimizer_step", "on_train_batch_end")

    def __init__(self, monitor: GradientMonitor | Doctor) -> None:
        self.monitor, self.seen = monitor, list[tuple[bool, list[bool]]]()

    def on_train_batch_end(self, *args: Any) -> None:
        self.seen.append((self.monitor.notes.due, [callable(getattr(self.monitor, name)) for name in self.names]))


def test_hooks_that_call_nobody_are_passed_over_while_steps_are_not_measured() -> None:
    doctor = Doctor(probes=False)
    hooks = Hooks(doctor)
    fit(Net(), doctor, hooks, loader=data(160))
    assert {due for due, _ in hooks.seen} == {True, False}
    assert all(found == [True] * 5 for due, found in hooks.seen if due)
    assert {tuple(found) for due, found in hooks.seen if not due} == {(True, False, False, False, True), (False,) * 5}
    assert all(callable(getattr(doctor, name)) for name in hooks.names)


def test_hooks_of_ones_own_are_called_at_every_step() -> None:
    class Own(GradientMonitor):
        steps, backwards = 0, 0

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            super().on_before_optimizer_step(trainer, pl_module, optimizer)
            self.steps += 1

    def count(*args: Any) -> None:
        monitor.backwards += 1

    monitor = Own()
    monitor.on_after_backward = count  # type: ignore[method-assign, assignment]
    fit(Net(), monitor, loader=data(160))
    assert monitor.steps == monitor.backwards == 40
    assert monitor.on_after_backward is count


def test_a_monitor_that_another_callback_calls_keeps_all_its_hooks() -> None:
    class Host(Callback):
        def on_train_start(self, *args: Any) -> None:
            monitor.on_train_start(*args)

        def on_train_batch_start(self, *args: Any) -> None:
            monitor.on_train_batch_start(*args)

        def on_train_batch_end(self, *args: Any) -> None:
            monitor.on_train_batch_end(*args)

    monitor = GradientMonitor()
    hooks = Hooks(monitor)
    fit(Net(), Host(), hooks, loader=data(160))
    assert not all(due for due, _ in hooks.seen)
    assert all(all(found) for _, found in hooks.seen)


def test_after_a_fit_that_ended_without_a_word_all_hooks_are_there_again() -> None:
    class Broken(Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 18:
                raise KeyError("mine")

        def on_exception(self, *args: Any) -> None:
            raise LookupError("in handling it")

    monitor = GradientMonitor()
    with pytest.raises(LookupError, match="in handling it"):
        fit(Net(), Broken(), monitor, loader=data(160))
    assert not callable(monitor.on_before_optimizer_step)
    fit(Net(), monitor)
    assert len(monitor.record.series("grad_norm/total")) == 10
