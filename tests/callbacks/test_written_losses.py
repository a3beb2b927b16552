"""Losses written by hand, as training under watch sees them: the same numbers as from torch's functions, and nothing is held."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnose.callbacks import Doctor, LossMonitor
from tests.callbacks.plain_training import Net, fit
from tests.callbacks.test_loss_oracles import Labelled

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")

Step = Callable[[Tensor, Tensor], Tensor]
PAIRS: dict[str, tuple[Step, Step]] = {
    "labels": (nn.functional.cross_entropy, lambda p, y: -p.log_softmax(1)[torch.arange(len(y)), y].mean()),
    "values": (
        lambda p, y: nn.functional.mse_loss(p, nn.functional.one_hot(y, 3).float()),
        lambda p, y: (p - nn.functional.one_hot(y, 3).float()).pow(2).mean(),
    ),
}


def watched(step: Step, *, manual: bool = False, labelled: bool = False) -> LossMonitor:
    class Own(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x = batch[0].as_subclass(Labelled) if labelled else batch[0]
            loss = step(self(x), batch[1])
            if not manual:
                return loss
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            return None

    torch.manual_seed(0)
    module, monitor = Own(), LossMonitor(every_n_steps=1, strict=True)
    module.automatic_optimization = not manual
    fit(module, monitor)
    return monitor


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("kind", list(PAIRS))
def test_the_numbers_are_those_of_the_function_of_torch(kind: str, manual: bool) -> None:
    function, by_hand = (watched(step, manual=manual).record for step in PAIRS[kind])
    assert by_hand.facts["task"]["written"]
    assert not function.facts["task"]["written"]
    assert by_hand.facts["task"]["kind"] == function.facts["task"]["kind"]
    names = {n for n in function.names() if n.startswith(("train/", "prediction/", "target/", "backward/"))}
    assert len(names) > 3
    assert names <= set(by_hand.names())
    for name in names:
        assert np.allclose(by_hand.series(name).value, function.series(name).value, rtol=1e-4, atol=1e-6), name


def test_tensors_of_a_kind_of_their_own() -> None:
    record = watched(PAIRS["labels"][1], labelled=True).record
    assert len(record.series("train/accuracy")) == 10


def test_nothing_of_a_step_is_held_after_it() -> None:
    seen: list[weakref.ref[Tensor]] = []

    def step(p: Tensor, y: Tensor) -> Tensor:
        scores = p - torch.ones(len(p), 3)
        seen.extend((weakref.ref(p), weakref.ref(scores)))
        return -scores.log_softmax(1).gather(1, y[:, None]).mean() + scores.square().mean()

    monitor = watched(step)
    gc.collect()
    assert len(seen) >= 10
    assert monitor.record.facts["task"]["loss"] == "nll_loss"
    assert all(ref() is None for ref in seen)


def test_a_loss_that_nothing_is_known_of() -> None:
    doctor = Doctor(every_n_steps=1, strict=True, probes=False)

    class Own(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            noise = torch.randn(len(batch[0]), 3)
            loss: Tensor = ((self(batch[0]) - noise) ** 2).sum(1).exp().mean().log()
            return loss

    fit(Own(lr=1e-4), doctor)
    assert "task" not in doctor.record
    assert "memory-growth" not in {f.rule for f in doctor.diagnosis.findings}
