"""Copies of modules: what they hold, what they share, and what cannot be copied."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

import diagnose
from diagnose.experiments.copying import Unusable, copied
from tests.experiments.odd import Classifier, loaders


class Lazy(Classifier):
    def __init__(self) -> None:
        super().__init__(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))


class KeepsResult(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.last = self.net(torch.randn(2, 8))
        self.kept = {"loss": self.last.sum()}


class Locked(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.locks = threading.Lock(), [threading.RLock()]


class Generates(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = (i for i in range(3))


def test_lazy_layers_kept_results_and_locks_are_copied() -> None:
    assert isinstance(copied(Lazy()), Lazy)
    kept = KeepsResult()
    twin = copied(kept)
    assert isinstance(twin, KeepsResult)
    assert torch.equal(twin.last, kept.last)
    assert twin.last.grad_fn is None
    assert kept.last.grad_fn is not None
    locked = Locked()
    other = copied(locked)
    assert isinstance(other, Locked)
    assert other.lock is not locked.lock


def test_a_module_that_cannot_be_copied() -> None:
    with pytest.raises(Unusable, match=r"the module cannot be copied \(TypeError: cannot pickle 'generator' object"):
        copied(Generates())


class Client:
    """A connection, as the libraries of trackers hold them."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __reduce__(self) -> Any:
        raise TypeError("a connection cannot be pickled")


class Connected(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.client = Client(None)
        self.tools = {"client": Client(None), "seen": [1, 2]}


def test_what_cannot_be_copied_is_shared_and_all_else_is_not() -> None:
    module = Connected()
    twin = copied(module)
    assert isinstance(twin, Connected)
    assert twin.client is module.client
    assert twin.tools["client"] is module.tools["client"]
    assert twin.tools is not module.tools
    assert twin.tools["seen"] is not module.tools["seen"]
    assert all(a is not b and torch.equal(a, b) for a, b in zip(twin.parameters(), module.parameters(), strict=True))


def test_a_module_with_a_connection_is_checked() -> None:
    module = Connected()
    before = [p.detach().clone() for p in module.parameters()]
    found = diagnose.check(module, *loaders(), patience=math.inf)
    assert [o.rule for o in found.outcomes if "copied" in o.reason] == []
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_an_open_file_is_not_shared(tmp_path: Path) -> None:
    module = Classifier()
    with (tmp_path / "log.txt").open("w") as file:
        module.log_file = file  # type: ignore[assignment]
        with pytest.raises(Unusable, match=r"the module cannot be copied \(TypeError.*and a step would use up self\.log_file"):
            copied(module)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_script_modules_keep_their_gradients() -> None:
    module = Classifier()
    module.net = torch.jit.script(module.net)  # type: ignore[assignment]
    module.net[0].weight.requires_grad_(False)
    twin = copied(module)
    assert [p.is_leaf for p in twin.parameters()] == [True] * 4
    assert [p.requires_grad for p in twin.parameters()] == [False, True, True, True]


def test_the_trainer_is_not_copied() -> None:
    module = Classifier()
    module.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    module.trainer.lock = threading.Lock()  # type: ignore[attr-defined]
    twin = copied(module)
    assert twin._trainer is None
    assert module._trainer is not None


def test_weights_tied_in_the_module_are_tied_in_the_copy() -> None:
    module = Classifier(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    module.net[2].weight = module.net[0].weight
    twin = copied(module)
    assert twin.net[2].weight is twin.net[0].weight  # type: ignore[union-attr, index]
