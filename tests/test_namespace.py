"""Both names of Lightning: its Trainers take our callbacks, its modules are checked, evaluated and watched."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose import namespace
from diagnose.callbacks import (
    ActivationMonitor,
    ConfusionMatrix,
    Doctor,
    GradientClipping,
    GradientMonitor,
    HiddenTSNE,
    LossMonitor,
    UpdateMonitor,
)
from diagnose.namespace import HOMES, NAMES

INSTALLED = [home.__name__ for home in HOMES]  # in an environment of the project both
each_name = pytest.mark.parametrize("name", INSTALLED)


def module_of(name: str) -> Any:
    """A small classifier whose class belongs to the named package."""
    base: Any = import_module(name).LightningModule

    class Net(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Net()


def data() -> DataLoader[Any]:
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()), batch_size=8)


def trainer_of(name: str, tmp_path: Path, callbacks: list[Any]) -> Any:
    return import_module(name).Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=callbacks,
    )


@each_name
def test_a_trainer_takes_every_callback(name: str, tmp_path: Path) -> None:
    doctor, matrix, monitor = Doctor(strict=True), ConfusionMatrix(strict=True), GradientMonitor(strict=True)
    watchers = [monitor, ActivationMonitor(strict=True), UpdateMonitor(strict=True), LossMonitor(strict=True), HiddenTSNE(strict=True)]
    trainer_of(name, tmp_path, [doctor, matrix, *watchers]).fit(module_of(name), data(), data())
    assert doctor.record.facts["run"]["finished"]
    assert doctor.record.facts["probe.step"]["kind"] == "cross_entropy"
    assert len(monitor.record.series("grad_norm/total")) == 10
    assert matrix.matrices["val"].sum() == 40
    assert all(isinstance(doctor, import_module(n).Callback) for n in INSTALLED)


@each_name
def test_results_are_found_although_the_host_ran_a_copy(name: str, tmp_path: Path) -> None:
    monitors = [Doctor(), GradientMonitor(), ActivationMonitor(), UpdateMonitor(), LossMonitor()]
    matrix, hidden, clipping = ConfusionMatrix(), HiddenTSNE(), GradientClipping(norm=0.1)
    mine: list[Any] = [*monitors, matrix, hidden, clipping]
    pickled: list[Any] = pickle.loads(pickle.dumps(mine))
    for callbacks in (copy.deepcopy(mine), pickled):
        trainer_of(name, tmp_path, callbacks).fit(module_of(name), data(), data())
        assert len(pickle.dumps(copy.deepcopy(callbacks))) < 1_000_000  # a module of a local class could not be pickled
    for monitor in monitors:
        assert len(list(monitor.record.names())) > 1, monitor
    assert monitors[0].record.facts["run"]["finished"]
    assert matrix.matrices["val"].sum() == 40
    assert hidden.embeddings
    assert clipping.steps == pickled[-1].steps == 10  # what was pickled is on its own
    assert 0 < clipping.share <= 1


@each_name
def test_a_module_may_bring_its_own_callbacks(name: str, tmp_path: Path) -> None:
    module, doctor = module_of(name), Doctor(strict=True)
    module.configure_callbacks = lambda: [doctor]
    trainer_of(name, tmp_path, []).fit(module, data(), data())
    assert len(doctor.record.series("train/loss")) == 10


@each_name
def test_a_module_is_checked_and_evaluated(name: str) -> None:
    module = module_of(name)
    diagnosis = diagnose.check(module, data(), data(), patience=math.inf, strict=True)
    assert "not-run" not in {o.status for o in diagnosis.outcomes if o.rule in ("initial-loss", "cannot-overfit-batch", "no-gradient")}
    assert diagnose.evaluate(module, data()).metrics["n"] == 40


def test_other_things_are_refused_by_check() -> None:
    with pytest.raises(TypeError, match=r"expected a LightningModule of lightning.pytorch or pytorch_lightning, got torch.nn.modules"):
        diagnose.check(nn.Linear(2, 2), data())  # type: ignore[arg-type]


CLI = """
import sys
from {name}.cli import LightningCLI
from {name}.demos.boring_classes import BoringDataModule, BoringModel

class Module(BoringModel):
    pass

cli = LightningCLI(Module, BoringDataModule)
(doctor,) = [c for c in cli.trainer.callbacks if type(c).__name__ == "Doctor"]
assert doctor.record.facts["run"]["finished"] and doctor.on_error == "stop"
print(len(doctor.record.series("train/loss")))
"""


@pytest.mark.slow
@each_name
def test_lightning_cli_makes_a_doctor_from_its_class_path(name: str, tmp_path: Path) -> None:
    pytest.importorskip("jsonargparse", reason="LightningCLI needs jsonargparse")
    (tmp_path / "main.py").write_text(CLI.format(name=name))
    arguments = ["fit", "--trainer.callbacks=diagnose.callbacks.Doctor", "--trainer.callbacks.on_error=stop", "--trainer.max_steps=7"]
    quiet = ["--trainer.logger=false", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    done = subprocess.run([sys.executable, "main.py", *arguments, *quiet], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "7"


ALONE = """
import sys
sys.modules["{other}"] = None
from diagnose.callbacks import Doctor
from diagnose.namespace import HOMES, Callback
import {name}
assert [h.__name__ for h in HOMES] == ["{name}"]
assert issubclass(Doctor, {name}.Callback)
import diagnose, diagnose.evaluation, diagnose.experiments.check, diagnose.cli.setup, diagnose.cli.evaluate
assert not any(m == "{other}" or m.startswith("{other}.") for m in sys.modules if sys.modules[m] is not None)
"""


@pytest.mark.slow
@each_name
def test_one_of_the_packages_is_enough(name: str, tmp_path: Path) -> None:
    other = next(n for n in NAMES if n != name).partition(".")[0]
    done = subprocess.run([sys.executable, "-c", ALONE.format(name=name, other=other)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_package_that_cannot_be_imported_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_lightning.py").write_text("raise AttributeError('made for another torch')")
    monkeypatch.syspath_prepend(tmp_path)
    assert namespace.installed(("broken_lightning", HOMES[0].__name__)) == HOMES[:1]
    why = r"neither can be imported: absent_lightning \(ModuleNotFound.*, broken_lightning \(AttributeError: made for another torch\)"
    with pytest.raises(ImportError, match=why):
        namespace.installed(("absent_lightning", "broken_lightning"))
