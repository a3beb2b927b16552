"""The Doctor in real trainings: it names faults while they happen and leaves a diagnosis whatever happens."""

from __future__ import annotations

import copy
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import Doctor
from diagnose.experiments.replay import replay, save_reproduction
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
    def __init__(self, lr: float = 0.1, poison: int = -1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.poison = lr, poison
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, poisoned: bool = False) -> Tensor:
        h = torch.relu(self.first(x))
        if poisoned:
            h = torch.log(h * 0)
        scores: Tensor = self.second(h)
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0], batch_idx == self.poison), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Ends(Callback):
    """Ends a training after its first batch."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = True


def data(rows: int = 160, batch: int = 8, seed: int = 0) -> DataLoader[Any]:
    torch.manual_seed(seed)
    x = torch.randn(rows, 4)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()), batch_size=batch)


def fit(module: LightningModule, doctor: Doctor, *callbacks: Any, val: bool = False, epochs: int = 3, **settings: Any) -> Trainer:
    trainer = Trainer(**{**QUIET, "max_epochs": epochs, **settings}, callbacks=[*callbacks, doctor])
    trainer.fit(module, data(), data(40, seed=1) if val else None)
    return trainer


def found(doctor: Doctor) -> set[str]:
    return {f.rule for f in doctor.diagnosis.at_or_above("warning")}


def test_a_healthy_training_gives_no_alarm() -> None:
    doctor = Doctor(strict=True)
    fit(Net(), doctor, val=True, epochs=8)
    assert found(doctor) == set()
    assert doctor.record.facts["run"]["epochs_done"] == 8
    assert doctor.record.facts["run"]["finished"]
    assert doctor.record.facts["task"]["kind"] == "multiclass"


def test_the_diagnosis_is_there_before_and_during_training() -> None:
    doctor = Doctor(probes=False)
    assert doctor.diagnosis.findings == ()
    seen = []

    class Asking(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            seen.append(len(doctor.diagnosis.outcomes))
            return super().training_step(batch, batch_idx)

    fit(Asking(), doctor, epochs=1, limit_train_batches=3)
    assert seen == [len(doctor.rules)] * 3


def test_a_monitor_that_is_never_logged_is_found_although_lightning_raises() -> None:
    doctor = Doctor(probes=False)
    with pytest.raises(RuntimeError, match="val_loss"):
        fit(Net(), doctor, EarlyStopping("val_loss"), val=True)
    (finding,) = [f for f in doctor.diagnosis.findings if f.rule == "monitor-missing"]
    assert finding.fix == "monitor 'val/loss'"
    assert "RuntimeError" in doctor.record.facts["run"]["interrupted"]


def test_a_monitor_is_named_before_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    class Stopping(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            assert "monitor-missing" in caplog.text
            return super().training_step(batch, batch_idx)

    with caplog.at_level(logging.WARNING, "diagnose"), pytest.raises(RuntimeError, match="val_loss"):
        fit(Stopping(), Doctor(probes=False), EarlyStopping("val_loss"), val=True, num_sanity_val_steps=1)


def test_early_stopping_leaves_its_reason() -> None:
    doctor = Doctor(probes=False)
    fit(Net(lr=0.0), doctor, EarlyStopping("val/loss", patience=1), val=True, epochs=9)
    assert "val/loss" in doctor.record.facts["run"]["stopped"]


def test_control_c_leaves_a_diagnosis() -> None:
    class Interrupted(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if self.trainer.global_step == 25:
                raise KeyboardInterrupt
            return super().training_step(batch, batch_idx)

    doctor = Doctor(probes=False)
    with pytest.raises(SystemExit):
        fit(Interrupted(), doctor)
    assert doctor.record.facts["run"]["interrupted"] == "KeyboardInterrupt"
    assert len(doctor.record.series("train/loss")) == 25
    assert len(doctor.diagnosis.outcomes) == len(doctor.rules)


def test_the_first_nan_is_located_and_saved_and_replayed(tmp_path: Path) -> None:
    doctor = Doctor(probes=False, reproductions=tmp_path)
    module = Net(poison=7)
    fit(module, doctor, epochs=1)
    fact = doctor.record.facts["nonfinite"]
    assert (fact["what"], fact["module"], fact["operation"], fact["batch"]) == ("activation", "Net", "log", 7)
    assert "non-finite" in found(doctor)
    report = replay(fact["file"], Net(poison=7))
    assert "the activation" in report
    assert report.count("log") == 2


def test_on_error_raise_stops_before_the_weights_are_poisoned() -> None:
    module = Net(poison=7)
    with pytest.raises(RuntimeError, match="the doctor found an error and was told to raise: error T301 non-finite"):
        fit(module, Doctor(probes=False, on_error="raise"))
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_on_error_stop_ends_the_training() -> None:
    doctor = Doctor(probes=False, on_error="stop")
    trainer = fit(Net(poison=7), doctor, epochs=50)
    assert trainer.current_epoch < 10


def test_on_error_warn_goes_on_and_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "diagnose"):
        fit(Net(poison=7), Doctor(probes=False), epochs=12)
    assert sum("T301 non-finite" in r.message for r in caplog.records) == 1


def test_an_input_that_is_not_finite_is_named() -> None:
    class Spoiled(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx)

        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            x, y = batch
            return [x.masked_fill(x > 2, float("nan")), y]

    doctor = Doctor(probes=False)
    fit(Spoiled(), doctor, epochs=1)
    assert doctor.record.facts["nonfinite"]["what"] == "input"
    assert {f.where for f in doctor.diagnosis.findings if f.rule == "non-finite"} == {"batch[0]"}


def test_a_copy_writes_to_the_record_of_the_original() -> None:
    doctor = Doctor(probes=False)
    twin = copy.deepcopy(doctor)
    fit(Net(), twin, epochs=1)
    assert doctor.record is twin.record
    assert len(pickle.loads(pickle.dumps(twin)).record.series("train/loss")) == 20


def test_the_original_finds_what_copies_recorded_fit_after_fit(tmp_path: Path) -> None:
    doctor = Doctor(probes=False, record=tmp_path / "a")
    for epochs in (1, 2):
        fit(Net(), copy.deepcopy(doctor), epochs=epochs)
        doctor.record.close()
        assert doctor.record.facts["run"]["epochs_done"] == epochs
    assert len(Record.read(tmp_path / "a").series("train/loss")) == 20
    assert len(Record.read(tmp_path / "a-2").series("train/loss")) == 40


def test_what_a_copy_in_another_process_wrote_is_read_from_its_folder(tmp_path: Path) -> None:
    doctor = Doctor(probes=False, record=tmp_path / "a")
    sent = pickle.dumps(doctor)
    twin = pickle.loads(sent)
    fit(Net(), twin, epochs=1)
    twin.record.close()
    assert len(doctor.record.series("train/loss")) == 20
    assert doctor.diagnosis.outcomes


def test_the_doctor_of_a_trainer() -> None:
    doctor = Doctor(probes=False)
    assert Doctor.of(Trainer(**QUIET, callbacks=[doctor])) is doctor
    with pytest.raises(ValueError, match="expected a Trainer with a Doctor, its callbacks are"):
        Doctor.of(Trainer(**QUIET))


def test_a_record_that_cannot_be_written_stays_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    doctor = Doctor(probes=False, record=tmp_path / "a")

    class FullDisk(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if batch_idx == 5:
                os.close(doctor.record._file.fileno())  # type: ignore[union-attr]
            return super().training_step(batch, batch_idx)

    with caplog.at_level(logging.WARNING, "diagnose"):
        fit(FullDisk(), doctor, epochs=1)
    assert "the record could not be written (OSError" in caplog.text
    assert len(doctor.record.series("train/loss")) == 20
    assert len(Record.read(tmp_path / "a").series("train/loss")) == 5


def test_rules_are_chosen_and_set() -> None:
    doctor = Doctor(probes=False, select=["T3"], ignore=["T306"], options={"dead-units": {"share": 0.5}})
    assert {r.code[:2] for r in doctor.rules} == {"T3"}
    assert "T306" not in {r.code for r in doctor.rules}
    assert {r.code: r for r in doctor.rules}["T304"].thresholds()["share"] == 0.5


def test_on_error_must_be_known() -> None:
    with pytest.raises(ValueError, match="on_error must be one of warn, stop, raise, got 'shout'"):
        Doctor(on_error="shout")


@pytest.mark.parametrize(("epochs", "tried"), [(10, False), (500, True)])
def test_long_runs_can_afford_to_learn_one_batch_by_heart(epochs: int, tried: bool) -> None:
    doctor = Doctor()
    trainer = Trainer(**QUIET, max_epochs=epochs, callbacks=[doctor, Ends()])
    trainer.fit(Net(), data())
    assert ("probe.overfit" in doctor.record.facts) is tried
    if not tried:
        assert doctor.record.missing["probe.overfit"] == ("left to diagnose.check: it trains 450 steps, and a twentieth of this run has 10")


def test_a_failing_probe_is_said_and_training_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("diagnose.experiments.check.fast_probes", lambda record, trainer, module: 1 / 0)
    doctor = Doctor()
    with caplog.at_level(logging.WARNING, "diagnose"):
        fit(Net(), doctor, epochs=1)
    assert "the probes before training failed (ZeroDivisionError: division by zero)" in caplog.text
    assert len(doctor.record.series("train/loss")) == 20


def test_a_file_that_is_no_reproduction(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no reproduction at"):
        replay(tmp_path / "a.pt")
    (tmp_path / "a.pt").write_text("nothing")
    with pytest.raises(ValueError, match="is not a saved reproduction"):
        replay(tmp_path / "a.pt")
    torch.save({"schema": 99}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match="has schema 99, this version reads up to 1: update lightning-diagnose"):
        replay(tmp_path / "b.pt")


def saved(path: Path, module: LightningModule, batch: Any) -> Path:
    save_reproduction(path, module, batch, index=0, random_state=None, precision="32-true", found={"what": "loss", "batch": 0})
    return path


def test_a_reproduction_of_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    content = torch.load(saved(tmp_path / "a.pt", Net(), next(iter(data()))), weights_only=True)
    for name, message in (("nowhere:Net", "cannot be imported"), ("pathlib:Path", "is not a LightningModule")):
        torch.save({**content, "module": name}, tmp_path / "b.pt")
        with pytest.raises(ValueError, match=message):
            replay(tmp_path / "b.pt")


def test_a_step_that_is_finite_again_is_said_to_be(tmp_path: Path) -> None:
    assert "now:  every number is finite" in replay(saved(tmp_path / "a.pt", Net(), next(iter(data()))), Net())


def test_a_batch_of_other_things_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a batch that is saved must hold tensors and plain values, got pathlib"):
        saved(tmp_path / "a.pt", Net(), [tmp_path])


def test_a_doctor_at_every_step_looks_at_forward_passes_and_updates_ever_more_seldom() -> None:
    doctor = Doctor(every_n_steps=1, probes=False, strict=True)
    fit(Net(), doctor, max_steps=50)
    assert doctor.record.series("grad_norm/total").step.tolist() == list(range(50))
    for name in ("activation/mean", "train/accuracy", "update_ratio/layers"):
        assert doctor.record.series(name).step.tolist() == [*range(7), 9, 14, 21, 31, 41], name
