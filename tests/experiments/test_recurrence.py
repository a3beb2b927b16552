from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.recurrence import reach_back
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record
from tests.experiments.odd import Classifier, blobs, loaders, sandboxed


class Reader(Classifier):
    """Reads a sequence by a recurrent layer and answers by its last step."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__(nn.Linear(12, 3))
        self.rnn = nn.RNN(2, 12, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        out = self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))[0]
        scores: Tensor = self.net(out[:, -1] if self.rnn.batch_first else out[-1])
        return scores


def recurrence(module: Any, steps: int = 30, batches: list[Any] | None = None) -> Record:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, steps, 2, generator=generator), torch.randint(0, 3, (64,), generator=generator)

    def probe(sandbox: Sandbox, record: Record) -> None:
        reach_back(sandbox, record)
        if batches is not None:
            batches.extend(sandbox.batches)

    return sandboxed(module, loaders(x, y)[0], probe)


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_reach_is_that_of_autograd(batch_first: bool) -> None:
    batches: list[Any] = []
    module = Reader(batch_first=batch_first)
    (found,) = recurrence(module, batches=batches).facts["probe.recurrence"]
    x, y = batches[0][0].clone().requires_grad_(), batches[0][1]
    (gradient,) = torch.autograd.grad(F.cross_entropy(module(x), y), x)
    by_time = gradient.norm(dim=(0, 2))
    assert (found["name"], found["kind"], found["steps"]) == ("rnn", "RNN", 30)
    assert found["reach"] == pytest.approx(float(by_time[:3].max() / by_time.max()), rel=1e-3)
    assert found["growth"] == pytest.approx(float(by_time.max() / by_time[-3:].max()), rel=1e-3)


def test_an_identity_recurrence_reaches_far() -> None:
    module = Reader()
    with torch.no_grad():
        for name, parameter in module.rnn.named_parameters():
            parameter.copy_(torch.eye(12) if name == "weight_hh_l0" else 0.01 * torch.ones_like(parameter) * name.startswith("weight"))
    assert recurrence(module).facts["probe.recurrence"][0]["reach"] > 0.1


def test_a_loop_over_time_is_a_recurrence_too() -> None:
    class Loop(Reader):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNNCell(2, 12)  # type: ignore[assignment]

        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(len(x), 12)
            for row in x.unbind(1):
                h = self.rnn(row, h)
            scores: Tensor = self.net(h)
            return scores

    batches: list[Any] = []
    module = Loop()
    (found,) = recurrence(module, batches=batches).facts["probe.recurrence"]
    x, y = batches[0][0].clone().requires_grad_(), batches[0][1]
    (gradient,) = torch.autograd.grad(F.cross_entropy(module(x), y), x)
    by_time = gradient.norm(dim=(0, 2))
    assert (found["name"], found["kind"], found["steps"]) == ("rnn", "RNNCell", 30)
    assert found["reach"] == pytest.approx(float(by_time[:3].max() / by_time.max()), rel=1e-3)


def test_layers_that_run_twice_or_not_at_all_are_left_out() -> None:
    class Twice(Reader):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + super().forward(x)

    assert "no recurrent layer ran" in recurrence(Twice()).missing["probe.recurrence"]
    x, y = blobs()
    plain = sandboxed(Classifier(), loaders(x, y)[0], lambda sandbox, record: reach_back(sandbox, record))
    assert "no recurrent layer ran" in plain.missing["probe.recurrence"]


def test_a_step_without_a_loss_is_not_differentiated() -> None:
    class Silent(Reader):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self(batch[0])

    assert "no loss with a gradient" in recurrence(Silent()).missing["probe.recurrence"]
