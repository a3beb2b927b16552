"""What the configuration alone decides is found before training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim import lr_scheduler

from diagnose.rules import build
from tests.experiments.checked import examined
from tests.experiments.odd import Classifier, loaders

QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def alarms(module: LightningModule, *callbacks: Callback, train: Any = None, val: Any = True, **settings: Any) -> list[str]:
    checkpoints = any(isinstance(c, ModelCheckpoint) for c in callbacks)
    trainer = Trainer(**{**QUIET, "enable_checkpointing": checkpoints, **settings}, callbacks=list(callbacks)) if settings else None
    own = loaders()
    diagnosis, _ = examined(module, train or own[0], own[1] if val else None, trainer=trainer, rules=build(["T317", "T322"]))
    return [f"{f.rule}: {f.message}" for f in diagnosis.at_or_above("warning")]


def test_a_name_that_is_never_logged() -> None:
    (alarm,) = alarms(Classifier(), EarlyStopping("val_los"), max_epochs=5)
    assert alarm == "monitor-missing: EarlyStopping monitors 'val_los', which is not logged; logged are train_loss, val_loss"


def test_names_that_are_logged() -> None:
    assert alarms(Classifier(), EarlyStopping("val_loss"), ModelCheckpoint(monitor="train_loss_epoch"), max_epochs=5) == []


def test_the_wrong_direction() -> None:
    (alarm,) = alarms(Classifier(), EarlyStopping("val_loss", mode="max"), max_epochs=5)
    assert "with mode='max', although lower is better by its name" in alarm


def test_what_may_be_logged_elsewhere_is_left_open() -> None:
    class Later(Classifier):
        def on_validation_epoch_end(self) -> None:
            self.log("val_score", 1.0)

    class Logs(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("val_score", 1.0)

    class Raises(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            raise ValueError("no validation")

    assert alarms(Later(), EarlyStopping("val_score"), max_epochs=5) == []
    assert alarms(Classifier(), EarlyStopping("val_score"), Logs(), max_epochs=5) == []
    assert alarms(Raises(), EarlyStopping("val_loss"), max_epochs=5) == []
    assert alarms(Classifier(), EarlyStopping("val_score"), max_epochs=5, val=False) == []


class Scheduled(Classifier):
    def __init__(self, make: Any, **config: Any) -> None:
        super().__init__()
        self.make, self.config = make, config

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make(optimizer, self), **self.config}}


def cycle(optimizer: Any, module: LightningModule) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=int(module.trainer.estimated_stepping_batches))


def test_a_plateau_that_waits_for_what_is_never_logged() -> None:
    module = Scheduled(lambda o, _: lr_scheduler.ReduceLROnPlateau(o), monitor="valid_loss")
    (alarm,) = alarms(module)  # also without a Trainer
    assert "ReduceLROnPlateau monitors 'valid_loss'" in alarm


def test_a_cycle_for_batches_that_is_stepped_per_epoch() -> None:
    (alarm,) = alarms(Scheduled(cycle), max_epochs=5)
    assert alarm == ("scheduler-mismatch: OneCycleLR is laid out for 30 steps and is stepped 5 times in this run, once per epoch")


@pytest.mark.parametrize(
    "settings", [{}, {"accumulate_grad_batches": 3}, {"limit_train_batches": 0.5}, {"max_steps": 12}, {"max_epochs": 1}]
)
def test_a_cycle_that_is_stepped_per_batch(settings: dict[str, Any]) -> None:
    assert alarms(Scheduled(cycle, interval="step"), **{"max_epochs": 5, **settings}) == []


def test_without_a_trainer_the_length_of_the_run_is_not_known() -> None:
    assert alarms(Scheduled(cycle)) == []
