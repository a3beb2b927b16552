"""Small trainings of many kinds, in which watching has to change nothing: one function per kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.tuner.tuning import Tuner
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import IterableDataset, TensorDataset

from tests.callbacks.identity import Run, digest

JOBS: dict[str, Callable[[Run], None]] = {}
INPUTS, CLASSES, ROWS = 6, 3, 32


def job(name: str) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    def add(function: Callable[[Run], None]) -> Callable[[Run], None]:
        JOBS[name] = function
        return function

    return add


class Module(lightning.LightningModule):
    """A classifier that logs, uses all random generators, and remembers what batches it was given."""

    def __init__(self, net: nn.Module, optimizer: Callable[..., Any] = torch.optim.SGD, lr: float = 0.05, **options: Any) -> None:
        super().__init__()
        self.net, self.optimizer, self.lr, self.options = net, optimizer, lr, options
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x)
        return scores

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(digest(batch))
        loss = self.loss(batch) * (1 + 0.01 * random.random() + 0.01 * float(np.random.rand()))
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val", self.loss(batch), batch_size=len(batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test", self.loss(batch), batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters(), lr=self.lr, **self.options)


def table(rows: int = ROWS, *shape: int) -> TensorDataset:
    x = torch.randn(rows, *(shape or (INPUTS,)))
    return TensorDataset(x, x.reshape(rows, -1)[:, :CLASSES].argmax(1))


def mlp(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(INPUTS, 8), *(layers or (nn.ReLU(),)), nn.Linear(8, CLASSES))


def noisy() -> nn.Sequential:
    return mlp(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))


def fit(run: Run, module: lightning.LightningModule, *own: lightning.Callback, rows: int = ROWS, **settings: Any) -> Any:
    data = table(rows)
    return run.fit(module, run.loader(data, batch_size=8, shuffle=True), run.loader(table(16), batch_size=8), *own, **settings)


@job("MLP")
def _(run: Run) -> None:
    fit(run, Module(mlp(), momentum=0.9))


@job("CNN with batch norm, dropout and in-place ReLU")
def _(run: Run) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout2d(0.2), nn.Flatten(), nn.LazyLinear(CLASSES)
    )
    net(torch.zeros(2, 1, 5, 5))
    data = table(ROWS, 1, 5, 5)
    run.fit(Module(net, torch.optim.AdamW), run.loader(data, batch_size=8, shuffle=True), run.loader(data, batch_size=16))


class Recurrent(nn.Module):
    """A GRU, whose output is a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(INPUTS, 8, num_layers=2, dropout=0.2, batch_first=True), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.gru(x)[0][:, -1])
        return scores


@job("GRU")
def _(run: Run) -> None:
    run.fit(Module(Recurrent(), torch.optim.RMSprop, 0.01), run.loader(table(ROWS, 5, INPUTS), batch_size=8, shuffle=True))


class Attention(nn.Module):
    """Two transformer layers and an attention written with functions."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(INPUTS, 2, 12, dropout=0.1, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.q, self.head = nn.Linear(INPUTS, INPUTS), nn.Linear(INPUTS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layers(x)
        h = h + F.softmax(self.q(h) @ h.transpose(1, 2), dim=-1) @ h
        h = F.gelu(h) + h
        scores: Tensor = self.head(h.mean(1))
        return scores


@job("transformer")
def _(run: Run) -> None:
    data = table(ROWS, 5, INPUTS)
    run.fit(Module(Attention(), torch.optim.Adam, 0.01), run.loader(data, batch_size=8, shuffle=True), run.loader(data, batch_size=16))


class Adversarial(Module):
    """Two optimizers and two schedulers, stepped by hand, clipped by hand."""

    def __init__(self) -> None:
        super().__init__(noisy())
        self.automatic_optimization = False
        self.critic = nn.Sequential(nn.Linear(CLASSES, 4), nn.LeakyReLU(), nn.Linear(4, 1))

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        self.seen.append(digest(batch))
        optimizers: Any = self.optimizers()
        first, second = optimizers
        self.toggle_optimizer(first)
        loss = self.loss(batch) - 0.1 * self.critic(self(batch[0])).mean()
        first.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(first, 0.5)
        first.step()
        self.untoggle_optimizer(first)
        critic = self.critic(self(batch[0]).detach()).square().mean()
        second.zero_grad()
        self.manual_backward(critic)
        second.step()
        self.log_dict({"g": loss, "d": critic})
        schedulers: Any = self.lr_schedulers()
        for scheduler in schedulers:
            scheduler.step()

    def configure_optimizers(self) -> Any:
        optimizers = [torch.optim.Adam(part.parameters(), lr=0.01) for part in (self.net, self.critic)]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for o in optimizers]


@job("manual optimisation with two optimizers")
def _(run: Run) -> None:
    fit(run, Adversarial())


@job("accumulated gradients, clipped by norm")
def _(run: Run) -> None:
    fit(run, Module(noisy()), rows=40, accumulate_grad_batches=2, gradient_clip_val=0.2)


@job("bf16-mixed")
def _(run: Run) -> None:
    fit(run, Module(noisy(), torch.optim.Adam), precision="bf16-mixed")


@job("fp16 with a scaler that skips steps, on the CPU")
def _(run: Run) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
    fit(run, Module(noisy()), plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    run.parts["scaler"] = digest(scaler.state_dict())


@job("average of weights (EMA)")
def _(run: Run) -> None:
    fit(run, Module(noisy()), EMAWeightAveraging(decay=0.9))


@job("stochastic weight averaging (SWA)")
def _(run: Run) -> None:
    fit(run, Module(noisy()), StochasticWeightAveraging(0.01, swa_epoch_start=1), max_epochs=3)


@job("LR finder, as callback and by Tuner")
def _(run: Run) -> None:
    fit(run, Module(noisy()), LearningRateFinder(num_training_steps=6))
    module, trainer, loader = Module(noisy()), run.trainer(), run.loader(table(), batch_size=8)
    found = Tuner(trainer).lr_find(module, loader, num_training=6)
    assert found is not None
    run.parts["curve"] = digest(found.results)
    trainer.fit(module, loader)
    run.note(trainer, module)


@job("overfit_batches")
def _(run: Run) -> None:
    fit(run, Module(noisy()), overfit_batches=2)


@job("schedulers, early stopping and checkpoints that monitor")
def _(run: Run) -> None:
    class Scheduled(Module):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val"}}

    keep = ModelCheckpoint(run.folder / "kept", monitor="val", save_top_k=2, every_n_train_steps=3, filename="{step}-{val:.9f}")
    own = (EarlyStopping("val", patience=1, min_delta=1e-2), keep, LearningRateMonitor())
    fit(run, Scheduled(noisy(), lr=0.5), *own, max_epochs=6, val_check_interval=2, enable_checkpointing=True)
    run.parts["files"] = digest(sorted(p.name for p in (run.folder / "kept").iterdir()))


@job("resumed from a checkpoint in mid-epoch")
def _(run: Run) -> None:
    data = table(40)
    run.fit(Module(noisy(), torch.optim.Adam), run.loader(data, batch_size=8, shuffle=True), max_steps=3)
    path = run.folder / "noted.ckpt"
    trainer, module = run.trainer(), Module(noisy(), torch.optim.Adam)
    trainer.fit(module, run.loader(data, batch_size=8, shuffle=True), ckpt_path=path)
    run.note(trainer, module)


@job("compiled submodule")
def _(run: Run) -> None:
    torch._dynamo.reset()
    inner: Any = torch.compile(noisy(), backend="eager")
    fit(run, Module(nn.Sequential(inner)))


@job("whole module compiled")
def _(run: Run) -> None:
    class Unlogged(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.loss(batch)

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.loss(batch)

    torch._dynamo.reset()
    module = Unlogged(noisy())
    compiled: Any = torch.compile(module, backend="aot_eager")
    trainer = run.trainer()
    trainer.fit(compiled, run.loader(table(), batch_size=8, shuffle=True), run.loader(table(16), batch_size=8))
    run.note(trainer, module)


@job("compiled methods and functions, closures over the module")
def _(run: Run) -> None:
    class Held(Module):
        def __init__(self) -> None:
            super().__init__(noisy())
            self.scale = torch.compile(lambda x: torch.tanh(x) * 1.5, backend="eager")
            self.forward = torch.compile(self.forward, backend="eager")  # type: ignore[method-assign]
            self.closure: Callable[[Any], Tensor] = lambda batch: F.cross_entropy(self.scale(self.net(batch[0])), batch[1])

        def loss(self, batch: Any) -> Tensor:
            self(batch[0])
            return self.closure(batch)

    torch._dynamo.reset()
    fit(run, Held())


class Recomputed(nn.Module):
    """Activation checkpointing around a block with dropout and a functional activation."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.block, self.last = nn.Linear(INPUTS, 8), nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3)), nn.Linear(8, CLASSES)
        self.reentrant = reentrant

    def inner(self, x: Tensor) -> Tensor:
        return F.relu(self.block(x))

    def forward(self, x: Tensor) -> Tensor:
        recomputed: Any = checkpoint
        scores: Tensor = self.last(recomputed(self.inner, torch.tanh(self.first(x)), use_reentrant=self.reentrant))
        return scores


@job("activation checkpointing, reentrant")
def _(run: Run) -> None:
    fit(run, Module(Recomputed(True)))


@job("activation checkpointing, not reentrant")
def _(run: Run) -> None:
    fit(run, Module(Recomputed(False)))


@job("LazyLinear and LazyBatchNorm")
def _(run: Run) -> None:
    fit(run, Module(nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(CLASSES))))


@job("shared weights and a shared activation")
def _(run: Run) -> None:
    shared, relu = nn.Linear(8, 8), nn.ReLU(inplace=True)
    tied = nn.Linear(8, 8)
    tied.weight = shared.weight
    fit(run, Module(mlp(relu, shared, relu, shared, relu, tied, nn.Tanh())))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(10, 8, sparse=True), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.bag(x.long().abs() % 10))
        return scores


@job("sparse embedding gradients, two optimizers in one step")
def _(run: Run) -> None:
    fit(run, Module(Bag()))

    class Sparse(Module):
        def __init__(self) -> None:
            super().__init__(Bag())
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = self.loss(batch)
            optimizers: Any = self.optimizers()
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in optimizers:
                optimizer.step()
            return loss

        def configure_optimizers(self) -> Any:
            assert isinstance(self.net, Bag)
            return [torch.optim.SparseAdam(self.net.bag.parameters()), torch.optim.Adam(self.net.head.parameters())]

    fit(run, Sparse())


class Stream(IterableDataset[Any]):
    """Draws from the global generator, and gives other rows in every epoch."""

    epochs = 0

    def __iter__(self) -> Iterator[Any]:
        self.epochs += 1
        for row in range(20):
            x = torch.randn(INPUTS) + self.epochs
            yield x, torch.tensor((row + self.epochs) % CLASSES)


@job("IterableDataset")
def _(run: Run) -> None:
    stream = Stream()
    run.fit(Module(noisy()), run.loader(stream, batch_size=8), run.loader(Stream(), batch_size=8), limit_train_batches=2)
    run.parts["epochs of the stream"] = digest(stream.epochs)


@job("several validation loaders")
def _(run: Run) -> None:
    val = [run.loader(table(n), batch_size=8, shuffle=shuffle) for n, shuffle in ((16, True), (12, False), (8, False))]
    run.fit(Module(noisy()), run.loader(table(), batch_size=8, shuffle=True), val, val_check_interval=2)


@job("trainer.validate, test and predict alone")
def _(run: Run) -> None:
    module, trainer, loader = Module(noisy()), run.trainer(), run.loader(table(), batch_size=8)
    for call in (trainer.validate, trainer.test):
        call(module, loader, verbose=False)
        run.note(trainer, module)
    run.parts["predictions"] = digest(trainer.predict(module, run.loader(table().tensors[0], batch_size=8)))
    run.note(trainer, module)


@job("LBFGS, which calls its closure many times")
def _(run: Run) -> None:
    fit(run, Module(mlp(nn.Tanh()), torch.optim.LBFGS, 0.5, max_iter=4))


@job("fused Adam")
def _(run: Run) -> None:
    fit(run, Module(noisy(), torch.optim.Adam, 0.01, fused=True))


@job("fit, test, and fit again")
def _(run: Run) -> None:
    module, trainer = Module(noisy(), torch.optim.Adam), run.trainer(max_epochs=1)
    loader, val = run.loader(table(), batch_size=8, shuffle=True), run.loader(table(16), batch_size=8)
    trainer.fit(module, loader, val)
    trainer.test(module, val, verbose=False)
    run.note(trainer, module)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader, val)
    run.note(trainer, module)


@job("steps that are skipped, losses that are not finite")
def _(run: Run) -> None:
    class Rough(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 1 else {"loss": loss * float("nan"), "other": (1, None)} if batch_idx == 2 else {"loss": loss}

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            for parameter in self.parameters():
                parameter.grad = torch.nan_to_num(parameter.grad) if parameter.grad is not None else None

    fit(run, Rough(noisy()))
