"""Gradients between the backward pass and the optimizer, in trainings whose limits are known."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from diagnose.callbacks import Doctor
from diagnose.record import Record
from tests.callbacks.plain_training import Net, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
LIMIT = 1e-4


def clamped(gradient: Tensor) -> Tensor:
    return gradient.clamp(-LIMIT, LIMIT)


def clamp_its_own(parameter: Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.clamp_(-LIMIT, LIMIT)


def clamp_all(module: nn.Module) -> None:
    nn.utils.clip_grad_value_(module.parameters(), LIMIT)


def freeze_most(module: nn.Module) -> None:
    for p in list(module.parameters())[:-1]:
        assert p.grad is not None
        p.grad.zero_()


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        for p in self.parameters():
            p.register_hook(clamped)  # type: ignore[no-untyped-call]


class Accumulated(Net):
    def __init__(self) -> None:
        super().__init__()
        for p in self.parameters():
            p.register_post_accumulate_grad_hook(clamp_its_own)  # type: ignore[no-untyped-call]


class AfterBackward(Net):
    def on_after_backward(self) -> None:
        clamp_all(self)


class BeforeStep(Net):
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        clamp_all(self)


class Others(Callback):
    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        clamp_all(pl_module)


class Manual(Net):
    """A loop of its own with something done to the gradients in it."""

    def __init__(self, reach: Callable[[nn.Module], Any] = clamp_all, times: float = 1.0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.reach, self.times = reach, times

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]) * self.times)
        self.reach(self)
        optimizer.step()


def watched(module: Any, *callbacks: Any) -> Record:
    doctor = Doctor(probes=False, every_n_steps=1, strict=True)
    torch.manual_seed(0)
    for layer in (module.first, module.second):
        layer.reset_parameters()
    fit(module, *callbacks, doctor)
    return doctor.record


@pytest.mark.parametrize(
    ("module", "callbacks"), [(Hooked, ()), (Accumulated, ()), (AfterBackward, ()), (BeforeStep, ()), (Net, (Others(),)), (Manual, ())]
)
def test_entries_at_a_bound_are_seen_wherever_they_are_set(module: type[Net], callbacks: tuple[Callback, ...]) -> None:
    record = watched(module(), *callbacks)
    assert len(record.series("clip/by_hand")) == 10
    assert (record.series("clip/by_hand").value < 0.02).all()
    assert (record.series("clip/bound").value > 0.8).all()
    most = LIMIT * sum(p.numel() for p in module().parameters()) ** 0.5
    left = record.series("clip/left").value
    assert ((left > 0.7 * most) & (left < 1.001 * most)).all()


def test_a_norm_that_is_set_by_hand() -> None:
    record = watched(Manual(lambda module: nn.utils.clip_grad_norm_(module.parameters(), 1e-3), times=64.0))
    np.testing.assert_allclose(record.series("clip/left").value, 1e-3, rtol=1e-3)
    whole = record.series("clip/left").value / record.series("clip/by_hand").value
    plain = watched(Manual(lambda module: None))
    np.testing.assert_allclose(whole[0] / 64, plain.series("clip/left").value[0], rtol=1e-3)
    np.testing.assert_allclose(plain.series("clip/by_hand").value, 1, rtol=1e-6)


def test_weights_that_are_left_out_are_not_clipped() -> None:
    np.testing.assert_allclose(watched(Manual(freeze_most)).series("clip/by_hand").value, 1, rtol=1e-6)


def test_hooks_stay_as_they_were_in_their_order() -> None:
    module = Hooked()
    parameter = next(iter(module.parameters()))
    parameter.register_hook(lambda gradient: 2 * gradient)  # type: ignore[no-untyped-call]
    before = list((parameter._backward_hooks or {}).items())
    watched(module)
    assert list((parameter._backward_hooks or {}).items()) == before
    assert not parameter._post_accumulate_grad_hooks


def test_a_training_that_nobody_reaches_into_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        record = watched(Net())
    assert "nobody reaches gradients" in record.missing["clip/by_hand"]
    assert not caplog.records


def test_a_loop_that_leaves_gradients_alone_is_watched_for_twelve_steps() -> None:
    doctor = Doctor(probes=False, every_n_steps=1, strict=True)
    fit(Manual(lambda module: None), doctor, max_epochs=4)
    assert 12 <= len(doctor.record.series("clip/by_hand")) < 20
    limited = Doctor(probes=False, every_n_steps=1, strict=True)
    fit(Manual(), limited, max_epochs=4)
    assert len(limited.record.series("clip/by_hand")) == 40
