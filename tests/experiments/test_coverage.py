"""Which parameters a step uses, which get a gradient, and which an optimizer holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.experiments.checked import Adversarial
from tests.experiments.looking import look
from tests.experiments.odd import Classifier


class Cut(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.spare = nn.Linear(8, 8), nn.Linear(2, 2)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(self.frozen(self.encoder(x).detach()))
        return y


def test_parameters_that_are_cut_off_unused_or_frozen() -> None:
    entries = {e["name"]: (e["used"], e["reached"]) for e in look(Cut())[0].facts["probe.parameters"]["registered"]}
    assert entries["encoder.weight"] == (True, False)
    assert entries["spare.weight"] == (False, False)
    assert entries["net.0.weight"] == (True, True)
    assert "frozen.weight" not in entries


class Phased(Classifier):
    """The scale of the scores rests until the fifth epoch; ``cut`` keeps it out of the loss for ever."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.cut, self.scale = cut, nn.Linear(8, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        scores, scale = self.net(batch[0]), self.scale(batch[0])
        scale = scale.detach() if self.cut or self.current_epoch < 5 else scale
        return F.cross_entropy(scores * scale.exp(), batch[1])


@pytest.mark.parametrize("cut", [False, True])
def test_what_rests_in_the_first_epochs(cut: bool) -> None:
    module = Phased(cut)
    entries = {e["name"]: e["reached"] for e in look(module)[0].facts["probe.parameters"]["registered"]}
    assert entries["scale.weight"] is not cut
    assert entries["net.0.weight"]


@pytest.mark.parametrize(
    ("between", "flat"),
    [(torch.round, True), (torch.sign, True), (lambda h: h + (h.round() - h).detach(), False), (lambda h: h - h.floor(), False)],
)
def test_parameters_behind_a_rounding(between: Any, flat: bool) -> None:
    class Rounded(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(between(self.encoder(x)))
            return y

    entries = {e["name"]: (e["reached"], e["flat"]) for e in look(Rounded())[0].facts["probe.parameters"]["registered"]}
    assert entries["encoder.weight"] == (True, flat)
    assert entries["net.0.weight"] == (True, False)


def test_layers_in_plain_lists_and_dicts() -> None:
    class Hidden(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(8, 8)]
            self.heads = {"a": nn.Parameter(torch.zeros(8))}

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(self.blocks[0](x) + self.heads["a"])
            return y

    stray = look(Hidden())[0].facts["probe.parameters"]["unregistered"]
    assert {e["name"]: e["size"] for e in stray} == {"blocks[0].weight": 64, "blocks[0].bias": 8, "heads['a']": 8}


def test_an_optimizer_that_the_module_keeps_counts() -> None:
    class Own(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.own = torch.optim.SGD(self.net.parameters(), 0.1)
            self.dummy = nn.Parameter(torch.zeros(1))

        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.own.zero_grad()
            F.cross_entropy(self(batch[0]), batch[1]).backward()  # type: ignore[no-untyped-call]
            self.own.step()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([self.dummy], 0.1)

    facts = look(Own())[0].facts["probe.parameters"]
    assert all(e["optimized"] for e in facts["registered"])
    assert "losses" not in facts


class Turns(Adversarial):
    """The first optimizer steps in one batch of ``every``, or never; until then its network is cut off."""

    def __init__(self, every: int, cut: bool = False) -> None:
        super().__init__()
        self.every, self.cut = every, cut

    def training_step(self, batch: Any, batch_idx: int) -> None:
        makes, judges = self.optimizers()  # type: ignore[attr-defined]
        fake = self.net(torch.randn(len(batch[0]), 4))
        turn = self.every and batch_idx % self.every == self.every - 1
        player = makes if turn else judges
        player.zero_grad()
        self.manual_backward(self.judge(fake if turn and not self.cut else fake.detach()).mean() - self.judge(batch[0]).mean())
        player.step()


@pytest.mark.parametrize(("every", "cut", "reached", "waits"), [(5, False, True, False), (5, True, False, False), (0, False, False, True)])
def test_of_optimizers_that_take_turns_each_is_waited_for(every: int, cut: bool, reached: bool, waits: bool) -> None:
    record, _ = look(Turns(every, cut))
    first = record.facts["probe.parameters"]["registered"][0]
    assert (first["name"], first["reached"], first["waits"]) == ("net.0.weight", reached, waits)
    assert len(record.facts["probe.step"]["loss"]) == 3
