"""Weights that thaw, or come, while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BackboneFinetuning, BaseFinetuning
from torch import Tensor, nn

from diagnose.callbacks import Doctor
from diagnose.experiments.check import check
from diagnose.rules import build
from tests.callbacks.plain_training import QUIET, Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")

At = dict[int, Callable[["Staged"], Any]]


class Staged(Net):
    """Its first layer is frozen and in no optimizer; what happens to it later is told by epoch."""

    def __init__(self, at: At) -> None:
        super().__init__()
        self.first.requires_grad_(False)
        self.at = at

    def on_train_epoch_start(self) -> None:
        if self.current_epoch in self.at:
            self.at[self.current_epoch](self)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=self.lr)


def thaw(module: Staged) -> None:
    module.first.requires_grad_(True)


def take(module: Staged) -> None:
    module.trainer.optimizers[0].add_param_group({"params": list(module.first.parameters())})


def watched(at: At, module: Callable[[At], Staged] = Staged) -> Doctor:
    doctor = Doctor(every_n_steps=1, strict=True, select=["M208"])
    fit(module(at), doctor, max_epochs=5)
    return doctor


def found(doctor: Doctor) -> list[str]:
    return [f.message for f in doctor.diagnosis.findings]


def test_a_thawed_layer_that_no_optimizer_holds_is_found() -> None:
    doctor = watched({1: thaw})
    facts = doctor.record.facts["thawed"]
    assert [(e["name"], e["epochs"]) for e in facts["parameters"]] == [("first.weight", 3), ("first.bias", 3)]
    (said,) = found(doctor)
    assert said.startswith("2 parameters (60% of the trainable weights) of first, thawed or added in training, get gradients")


def test_it_is_told_while_training_goes_on() -> None:
    told: dict[int, int] = {}
    doctor = Doctor(every_n_steps=1, strict=True, select=["M208"])

    class Asking(Staged):
        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            told[self.current_epoch] = len(doctor.diagnosis.findings)

    fit(Asking({1: thaw}), doctor, max_epochs=5)
    assert told == {0: 0, 1: 0, 2: 0, 3: 0, 4: 1}


def test_a_layer_that_is_added_later_is_found() -> None:
    class Growing(Staged):
        def forward(self, x: Tensor) -> Tensor:
            top: Any = getattr(self, "top", None)
            scores: Tensor = super().forward(x)
            return scores if top is None else top(scores)

    def grow(module: Staged) -> None:
        module.top = nn.Linear(3, 3)

    (said,) = found(watched({1: grow}, module=Growing))
    assert "of top, thawed or added in training" in said


def add_own(module: Staged) -> None:
    thaw(module)
    own = torch.optim.SGD(module.first.parameters(), lr=0.1)
    module.on_train_batch_end = lambda *_: own.step()  # type: ignore[method-assign]


def cut(module: Staged) -> None:
    """Without a new gradient, beside one that nobody cleared."""
    thaw(module)
    module.first.weight.grad = torch.ones_like(module.first.weight)
    module.forward = lambda x: module.second(torch.relu(module.first(x)).detach())  # type: ignore[method-assign]


def thaw_and_take(module: Staged) -> None:
    thaw(module)
    take(module)


HEALTHY: dict[str, At] = {
    "with a group of its own": {1: thaw_and_take},
    "taken by an optimizer later": {1: thaw, 3: take},
    "moved by an optimizer that Lightning does not know": {1: add_own},
    "frozen again": {1: thaw, 2: lambda module: module.first.requires_grad_(False)},
    "thawed in the last epoch, of which nothing can be said": {4: thaw},
    "thawed, but cut off from the loss": {1: cut},
}


class Tuning(BaseFinetuning):
    """Freezes all but the head until the second epoch, and leaves batch norm as it was."""

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.first, train_bn=False)

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.first, optimizer, train_bn=False)


@pytest.mark.filterwarnings("ignore:Found 3 module")
def test_a_batch_norm_that_is_left_out_on_purpose_is_not_found() -> None:
    module = Staged({})
    module.first = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))  # type: ignore[assignment]
    for _ in range(40):
        module.first(torch.randn(40, 4))
    module.first.eval()
    told = check(module, data(), None, rules=build(["M208", "M213"]))
    assert [(f.rule, f.severity.value) for f in told.findings] == [("wrong-mode", "info")]
    doctor = Doctor(every_n_steps=1, strict=True, select=["M208", "M213"])
    fit(module, Tuning(), doctor, max_epochs=5)
    facts = doctor.record.facts["thawed"]
    assert [(e["name"], e["norm"]) for e in facts["parameters"]] == [("first.1.weight", True), ("first.1.bias", True)]
    assert facts["taken"] == 40
    assert found(doctor) == []


def test_a_check_that_knows_the_trainer_knows_what_its_callbacks_freeze() -> None:
    class Headed(Staged):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.second.parameters(), lr=self.lr)

    module = Headed({})
    module.first.requires_grad_(True)
    said = [
        check(module, data(), None, rules=build(["M208"]), trainer=trainer).findings
        for trainer in (None, Trainer(callbacks=[Tuning()], **QUIET))
    ]
    assert [[f.where for f in findings] for findings in said] == [["self.first"], []]
    assert all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("name", HEALTHY)
def test_silent(name: str) -> None:
    assert found(watched(HEALTHY[name])) == []


@pytest.mark.parametrize(("thaws", "found"), [(True, "first.requires_grad = True"), (False, "")])
def test_an_attribute_of_a_module_thaws_nothing(thaws: bool, found: str) -> None:
    def act(module: Staged) -> None:
        if thaws:
            module.first.requires_grad = True  # type: ignore[assignment]
        else:
            module.first.requires_grad_(True)

    doctor = Doctor(strict=True, select=["T313"])
    fit(Staged({2: act}), doctor, max_epochs=5)
    messages = [finding.message for finding in doctor.diagnosis.findings]
    assert [message.startswith(found) for message in messages] == ([True] if found else [])


def test_an_attribute_of_a_module_freezes_nothing() -> None:
    module = Net()
    module.first.requires_grad = False  # type: ignore[assignment]
    (finding,) = check(module, data(), rules=build(["T313"])).findings
    assert "2 of them are trained all the same" in finding.message
    assert finding.fix == "call self.first.requires_grad_(False)"


@pytest.mark.parametrize(("at", "told"), [(10, ["first"]), (2, [])])
def test_a_callback_that_thaws_after_the_end_is_named(at: int, told: list[str]) -> None:
    class Whole(Net):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = self.first

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.second.parameters(), lr=self.lr)

    doctor = Doctor(every_n_steps=1, strict=True, select=["T313"])
    fit(Whole(), BackboneFinetuning(unfreeze_backbone_at_epoch=at), doctor, max_epochs=5)
    assert [f.where for f in doctor.diagnosis.findings] == told
    assert all("BackboneFinetuning.unfreeze_backbone_at_epoch is 10 in a run of 5 epochs" in f.message for f in doctor.diagnosis.findings)
