"""A module that falls into eval mode in the midst of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from diagnose.callbacks import Doctor
from tests.callbacks.plain_training import Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


class Normed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.drop(self.norm(x)))


class Preview(Normed):
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            self.eval()


class AtTheEnd(Normed):
    def on_train_epoch_end(self) -> None:
        self.eval()


class PutBack(Normed):
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.eval()
        with torch.no_grad():
            self(batch[0])
        self.train()


class OnPurpose(Normed):
    def on_train_epoch_start(self) -> None:
        if self.current_epoch:
            self.eval()


class FromTheStart(Normed):
    def on_train_start(self) -> None:
        self.eval()


class Plain(Net):
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.eval()


class Parts(Normed):
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.norm.eval()


def watched(module: Callable[[], Net]) -> Doctor:
    doctor = Doctor(every_n_steps=1, strict=True, select=["M213"])
    fit(module(), doctor, max_epochs=3, loader=data(batch=8))
    return doctor


@pytest.mark.parametrize(("module", "batch", "steps"), [(Preview, 3, 12), (AtTheEnd, 5, 10)])
def test_a_module_that_stays_in_eval_mode_is_found(module: Callable[[], Net], batch: int, steps: int) -> None:
    doctor = watched(module)
    assert doctor.record.facts["fallen"] == {"batch": batch, "steps": steps, "of": steps, "modules": ["drop", "norm"]}
    assert [f.message for f in doctor.diagnosis.findings] == [
        f"the module falls into eval mode in training: from batch {batch} on it stands so in {steps} of {steps} measured steps, with 2 "
        "batch norm or dropout modules: drop, norm"
    ]


@pytest.mark.parametrize("module", [PutBack, OnPurpose, FromTheStart, Plain, Parts])
def test_modes_that_are_put_back_or_meant_are_left_alone(module: Callable[[], Net]) -> None:
    assert "fallen" not in watched(module).record


class Looks(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.eval()


def test_a_callback_that_puts_the_module_into_eval_mode_from_the_first_batch_on() -> None:
    doctor = Doctor(every_n_steps=1, strict=True, select=["M213"])
    fit(Normed(), Looks(), doctor, max_epochs=3, loader=data(batch=8))
    assert doctor.record.facts["fallen"] == {"batch": 0, "steps": 15, "of": 15, "modules": ["drop", "norm"]}
    assert len(doctor.diagnosis.findings) == 1
