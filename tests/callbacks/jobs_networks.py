"""Kinds of networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.callbacks.identity import Run
from tests.callbacks.trainings import CLASSES, INPUTS, ROWS, Jobs, Module, fit, mlp, noisy, table

job = Jobs()


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
