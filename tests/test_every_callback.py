"""What holds for every callback in somebody else's training: it changes nothing, and it can be copied and pickled."""

from __future__ import annotations

import copy
import hashlib
import inspect
import pickle
import random
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import diagnose.callbacks
from diagnose.callbacks.instrument import Instrument

CALLBACKS: list[type[lightning.Callback]] = [
    value
    for name in diagnose.callbacks.__all__
    if inspect.isclass(value := getattr(diagnose.callbacks, name)) and issubclass(value, lightning.Callback)
]

ACTORS = (diagnose.callbacks.GradientClipping, diagnose.callbacks.SnapshotEnsemble)  # there to change, or to write, something
WATCHERS = [kind for kind in CALLBACKS if kind not in ACTORS]
every_callback = pytest.mark.parametrize("kind", WATCHERS, ids=lambda kind: kind.__name__)


class Noisy(lightning.LightningModule):
    """Batch norm, dropout, a functional activation, shared weights: all that careless watching would disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        self.twice = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.twice(torch.tanh(self.twice(self.inner(x))))
        scores: Tensor = self.head(h)
        return scores

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class ByHand(Noisy):
    """Manual optimisation with two optimizers, dictionaries as batches."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def loss(self, batch: Any) -> Tensor:
        return super().loss((batch["x"], batch["y"]))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
            loss = self.loss(batch)
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=1e-2) for part in (self.inner, self.head)]


def train(kind: type[Noisy], callbacks: Sequence[lightning.Callback]) -> tuple[str, lightning.Trainer]:
    """A digest of everything that watching could change, after two epochs and a test."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    x = torch.randn(48, 6)
    data: Any = TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long())
    if kind is ByHand:
        data = [{"x": a, "y": b} for a, b in data]
    module = kind()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        gradient_clip_val=None if kind is ByHand else 0.5,
        accumulate_grad_batches=1 if kind is ByHand else 2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks],
    )
    loader = DataLoader(data, batch_size=8, shuffle=True)
    trainer.fit(module, loader, DataLoader(data, batch_size=16))
    trainer.test(module, DataLoader(data, batch_size=16), verbose=False)
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        digest.update(value.numpy().tobytes())
    for optimizer in trainer.optimizers:
        for state in optimizer.state_dict()["state"].values():
            for value in state.values():
                digest.update(np.asarray(0 if value is None else value).tobytes())
    digest.update(torch.get_rng_state().numpy().tobytes())
    digest.update(repr((random.getstate(), pickle.dumps(np.random.get_state()), module.training)).encode())
    return digest.hexdigest(), trainer


def test_the_callbacks_are_those_of_the_readme() -> None:
    assert {"ActivationMonitor", "ConfusionMatrix", "Doctor", "GradientMonitor", "HiddenTSNE"} <= {kind.__name__ for kind in CALLBACKS}


@pytest.mark.parametrize("module", [Noisy, ByHand])
@every_callback
def test_watching_changes_nothing(kind: type[lightning.Callback], module: type[Noisy]) -> None:
    bare, _ = train(module, [])
    assert train(module, [])[0] == bare, "this test is not deterministic"
    assert train(module, [kind()])[0] == bare


@pytest.mark.parametrize("module", [Noisy, ByHand])
def test_watching_with_all_of_them_changes_nothing(module: type[Noisy]) -> None:
    assert train(module, [kind() for kind in WATCHERS])[0] == train(module, [])[0]


def test_that_test_can_fail() -> None:
    class Careless(lightning.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            torch.rand(1)

    assert train(Noisy, [Careless()])[0] != train(Noisy, [])[0]


@every_callback
def test_it_leaves_no_hook_behind(kind: type[lightning.Callback]) -> None:
    _, trainer = train(Noisy, [kind()])
    for name, module in trainer.lightning_module.named_modules():
        assert not module._forward_hooks, name
        assert not module._forward_pre_hooks, name
        assert not module._backward_hooks, name


@every_callback
def test_it_writes_nothing_unasked(kind: type[lightning.Callback], tmp_path: Path) -> None:
    train(Noisy, [kind()])
    assert list(tmp_path.iterdir()) == []


@every_callback
def test_it_can_be_copied_and_pickled_before_and_after(kind: type[lightning.Callback]) -> None:
    callback = kind()
    for _ in range(2):
        assert type(copy.deepcopy(callback)) is kind
        assert type(pickle.loads(pickle.dumps(callback))) is kind
        train(Noisy, [callback])


def test_what_the_instruments_write_is_documented() -> None:
    for module in iter_modules(diagnose.callbacks.__path__):
        import_module(f"diagnose.callbacks.{module.name}")
    guide = (Path(__file__).parents[1] / "docs/record.md").read_text(encoding="utf-8")
    names = [name for kind in Instrument.__subclasses__() for name in kind.writes]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("kind", CALLBACKS, ids=lambda kind: kind.__name__)
def test_its_page_names_every_argument(kind: type[lightning.Callback]) -> None:
    assert kind.__doc__, f"{kind.__name__} has no docstring"
    assert kind.__doc__.splitlines()[0].endswith(".")
    pages = "\n".join(inspect.cleandoc(parent.__doc__ or "") for parent in kind.__mro__)  # common arguments stand in the parent
    arguments = [name for name in inspect.signature(kind).parameters if name != "kwargs"]
    assert [name for name in arguments if not re.search(rf"^\s+{name}( \(.*\))?:", pages, re.MULTILINE)] == []
    guide = (Path(__file__).parents[1] / "docs/callbacks.md").read_text(encoding="utf-8")
    assert f"`{kind.__name__}" in guide
