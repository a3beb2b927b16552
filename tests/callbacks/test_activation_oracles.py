"""Statistics of activations and hidden layers in real trainings against the forward pass written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import ActivationMonitor, Doctor, GradientMonitor, HiddenTSNE, UpdateMonitor
from diagnose.record import Record
from tests.callbacks.identity import QUIET

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
Parts = dict[str, Tensor]
ROWS, WIDTH = 10, 8


class Net(nn.Module):
    """A network whose ``forward`` notes copies of its activations, under the label that they should get, when it is called by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: Parts | None = None

    def note(self, label: str, value: Tensor) -> Tensor:
        if self.noted is not None:
            self.noted[label] = value.detach().clone()
        return value


class InPlace(Net):
    """What follows changes the activation, by a module, a function, a method or an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.four = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.act, self.head = nn.GELU(), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.note("net.act (GELU)", self.act(self.one(x)))
        x += 1
        x = self.note("net.two → gelu", F.gelu(self.two(x)))
        x.mul_(-3)
        x = self.note("net.three → silu", F.silu(self.three(x)))
        x[:, 0] = 5
        x = self.note("net.four → relu", self.four(x).relu_())
        scores: Tensor = self.head(F.dropout(x, 0.5, inplace=True, training=False))
        return scores


class Functional(Net):
    """Functions, methods, and attention in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.attend, self.seen = nn.MultiheadAttention(WIDTH, 2, batch_first=True), nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.note("net.a → gelu", F.gelu(self.a(x))).reshape(2, -1, WIDTH)
        shares = self.note("net.b → softmax", (self.b(h) @ h.transpose(1, 2)).softmax(-1))
        h = self.note("net.c → attention", F.scaled_dot_product_attention(self.c(shares @ h), h, h))
        h = self.note("net.attend → attention", self.attend(h, h, h, need_weights=False)[0])
        h, weights = self.seen(h, h, h)
        self.note("net.seen → attention", h)
        self.note("net.seen → softmax", weights)
        h = self.note("net.seen → sigmoid", h.sigmoid())
        scores: Tensor = self.head(h).reshape(-1, 3)
        return scores


class Twice(Net):
    """One activation behind each of several layers, one of which runs in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.note("net.act (ReLU)", self.act(self.one(x)))
        x = self.note("net.two → net.act (ReLU)", self.act(self.two(x)))
        scores: Tensor = self.head(self.act(self.two(x)))
        return scores


@dataclass
class Held:
    hidden: Tensor
    other: Any = None


class Named(NamedTuple):
    name: str
    hidden: Tensor


class Part(Net):
    """Gives its activation inside of something."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Linear(WIDTH, WIDTH), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(F.gelu(self.layer(x)))


class Nested(Net):
    """Layers that give dicts, dataclasses, named and nested tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.holds = Part(lambda h: {"name": "x", "hidden": h}), Part(Held)
        self.names, self.nests = Part(lambda h: Named("x", h)), Part(lambda h: (None, [{"deep": (h, 1)}]))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.note("net.maps.layer → gelu", self.maps(x)["hidden"])
        x = self.note("net.holds.layer → gelu", self.holds(x).hidden)
        x = self.note("net.names.layer → gelu", self.names(x).hidden)
        x = self.note("net.nests.layer → gelu", self.nests(x)[1][0]["deep"][0])
        scores: Tensor = self.head(x)
        if not torch.is_grad_enabled():
            x += 1
        return scores


class Recomputed(Net):
    """A block that gives something else when it is computed again."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.inner, self.act, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 3)
        self.reentrant, self.runs = reentrant, 0

    def block(self, x: Tensor) -> Tensor:
        self.runs += 1
        again = self.noted is None and self.runs % 2 == 0
        x = self.note("net.inner → relu", F.relu(self.inner(x) + (7 if again else 0)))
        return self.note("net.act (GELU)", self.act(x))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(checkpoint(self.block, torch.relu(self.note_first(x)), use_reentrant=self.reentrant))
        return scores

    def note_first(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.note("net.first → relu", x.relu())
        return x


class Module(lightning.LightningModule):
    """Learns nothing, so that each batch meets the same weights."""

    def __init__(self, net: Any, manual: bool = False, lr: float = 0.0) -> None:
        super().__init__()
        self.net, self.automatic_optimization, self.lr = net, not manual, lr

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        if self.automatic_optimization:
            return {"loss": loss, "extra": Held(loss.detach(), ("a", None)), "named": Named("x", loss.detach())}
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return None

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": F.cross_entropy(self.net(batch[0]), batch[1])}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def loader() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3 * ROWS, WIDTH, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=ROWS)


def fit(module: Any, *callbacks: lightning.Callback) -> Record:
    settings: dict[str, Any] = {**QUIET, "logger": False, "max_epochs": 1, "enable_checkpointing": False}
    lightning.Trainer(**settings, callbacks=list(callbacks)).fit(module, loader())
    first: Any = callbacks[0]
    record: Record = first.record
    return record


def seeded(make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return make()


MADE: dict[str, Callable[[], Net]] = {
    "in place": InPlace,
    "functional": Functional,
    "shared": Twice,
    "nested": Nested,
    "checkpointed, reentrant": lambda: Recomputed(True),
    "checkpointed": lambda: Recomputed(False),
}


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("kind", MADE)
def test_statistics_are_those_of_the_forward_pass_written_out(kind: str, manual: bool) -> None:
    record = fit(Module(seeded(MADE[kind]), manual), ActivationMonitor(every_n_steps=1, strict=True))
    by_hand = seeded(MADE[kind])
    by_hand.train()
    means, stds, dead = (record.series(f"activation/{name}") for name in ("mean", "std", "dead"))
    assert len(means) == 3
    for step, (x, _) in enumerate(loader()):
        by_hand.noted = {}
        by_hand(x)
        assert set(means.labels) == set(by_hand.noted)
        for column, label in enumerate(means.labels):
            value = by_hand.noted[label]
            assert means.value[step, column] == pytest.approx(float(value.mean()), rel=1e-4, abs=1e-6), label
            assert stds.value[step, column] == pytest.approx(float(value.std(unbiased=False)), rel=1e-4, abs=1e-6), label
            if label.endswith(("relu", "(ReLU)", "gelu", "(GELU)", "silu")):
                units = (value.reshape(-1, value.shape[-1]).abs() <= 1e-6).all(0).float().mean()
                assert dead.value[step, column] == pytest.approx(float(units), abs=1e-6), label
            else:
                assert np.isnan(dead.value[step, column]), label


@pytest.mark.parametrize("way", ["none", "submodule", "submodule.compile", "module", "module.compile"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_modules_have_their_own_names_and_the_same_gradients(way: str, backend: str) -> None:
    torch._dynamo.reset()
    expected = fit(seeded(lambda: Module(Twice(), lr=0.1)), GradientMonitor(every_n_steps=1), UpdateMonitor(every_n_steps=1))
    module: Any = seeded(lambda: Module(Twice(), lr=0.1))
    if way == "submodule":
        module.net = torch.compile(module.net, backend=backend)
    elif way == "submodule.compile":
        module.net.compile(backend=backend)
    elif way == "module":
        module = torch.compile(module, backend=backend)
    elif way == "module.compile":
        module.compile(backend=backend)
    record = fit(module, Doctor(every_n_steps=1, strict=True, probes=False))
    assert record.labels["grad_norm/layers"] == ("net.one", "net.two", "net.head") == record.labels["update_ratio/layers"]
    for name in ("grad_norm/total", "grad_norm/layers"):
        np.testing.assert_allclose(record.series(name).value, expected.series(name).value, rtol=1e-5)
    assert not [label for labels in record.labels.values() for label in labels if "_orig_mod" in label]
    if way == "none":
        assert "activation/mean" in record
    else:
        assert record.missing["activation/mean"].startswith("not monitored: torch.compile holds")


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        ("maps", "net.maps.layer → gelu"),
        ("holds", "net.holds.layer → gelu"),
        ("names", "net.names.layer → gelu"),
        ("nests", "net.nests.layer → gelu"),
        ("head (input)", "net.nests.layer → gelu"),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_hidden_layers_are_kept_as_they_were(layer: str, label: str, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def project(features: Any, **options: Any) -> Any:
        kept.append(features)
        raise KeyError("enough")

    monkeypatch.setattr("diagnose.callbacks.hidden_tsne.project", project)
    module, by_hand = seeded(lambda: Module(Nested())), seeded(Nested)
    settings: dict[str, Any] = {**QUIET, "logger": False, "max_epochs": 1, "enable_checkpointing": False}
    trainer = lightning.Trainer(**settings, callbacks=[HiddenTSNE(layers=[f"net.{layer}"])])
    if stage == "fit":
        trainer.fit(module, loader(), loader())
    else:
        trainer.test(module, loader(), verbose=False)
    expected = []
    for x, _ in loader():
        by_hand.noted = {}
        by_hand(x)
        expected.append(by_hand.noted[label])
    np.testing.assert_allclose(kept[0], torch.cat(expected).numpy(), rtol=1e-5)


def fails(*arguments: Any, **options: Any) -> Any:
    raise MemoryError("no room for it")


def test_what_fails_in_the_midst_of_a_forward_pass_does_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagnose.measure.activations.statistics", fails)
    monkeypatch.setattr("diagnose.experiments.hidden_layers.leaves", fails)
    module, monitor, hidden = seeded(lambda: Module(Nested(), lr=0.1)), ActivationMonitor(), HiddenTSNE()
    trainer = lightning.Trainer(**QUIET, logger=False, max_epochs=1, enable_checkpointing=False, callbacks=[monitor, hidden])
    trainer.fit(module, loader(), loader())
    assert trainer.global_step == 3
    assert monitor.record.missing["activation/mean"] == "Activations failed in after_batch (MemoryError: no room for it)"
    assert hidden.off == "HiddenTSNE failed (MemoryError: no room for it) and switched itself off"
