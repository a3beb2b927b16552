"""Kinds of batches, and what a module does with them before its step."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_sequence
from torch.utils.data import Sampler, WeightedRandomSampler

from tests.callbacks.identity import Run, digest
from tests.callbacks.trainings import CLASSES, INPUTS, Jobs, Module, fit, noisy, table

job = Jobs()


def rows(count: int = 32) -> list[tuple[Tensor, Tensor]]:
    return list(zip(*table(count).tensors, strict=True))


class Fields(Module):
    """Takes what it needs from batches of other forms."""

    def pair(self, batch: Any) -> tuple[Tensor, Tensor]:
        return batch["x"], batch["y"]

    def loss(self, batch: Any) -> Tensor:
        x, y = self.pair(batch)
        return F.cross_entropy(self(x), y)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val", self.loss(batch), batch_size=8)


@job("batches that are dicts with texts, numbers and None")
def _(run: Run) -> None:
    data = [{"x": x, "y": y, "name": f"row {i}", "weight": i / 7, "of": {"ids": torch.tensor([i])}} for i, (x, y) in enumerate(rows())]
    run.fit(Fields(noisy()), run.loader(data, batch_size=8, shuffle=True), run.loader(data, batch_size=8))


@dataclass
class Sample:
    x: Tensor
    y: Tensor
    note: str | None = None

    def to(self, *args: Any, **kwargs: Any) -> Sample:
        return Sample(self.x.to(*args, **kwargs), self.y.to(*args, **kwargs), self.note)


class Named(NamedTuple):
    x: Tensor
    y: Tensor


@job("batches that are dataclasses")
def _(run: Run) -> None:
    class Held(Fields):
        def pair(self, batch: Sample) -> tuple[Tensor, Tensor]:
            return batch.x, batch.y

    def collate(given: Any) -> Sample:
        return Sample(torch.stack([x for x, _ in given]), torch.stack([y for _, y in given]), "a batch")

    run.fit(Held(noisy()), run.loader(rows(), batch_size=8, collate_fn=collate), run.loader(rows(), batch_size=8, collate_fn=collate))


@job("batches that are named tuples, with arrays beside the tensors")
def _(run: Run) -> None:
    class Held(Fields):
        def pair(self, batch: Any) -> tuple[Tensor, Tensor]:
            named, extra = batch
            assert isinstance(extra, np.ndarray)
            return named.x, named.y

    def collate(given: Any) -> Any:
        return Named(torch.stack([x for x, _ in given]), torch.stack([y for _, y in given])), np.arange(len(given))

    run.fit(Held(noisy()), run.loader(rows(), batch_size=8, collate_fn=collate))


class Packed(Module):
    """A GRU over packed sequences."""

    def __init__(self) -> None:
        super().__init__(nn.GRU(3, 8, batch_first=True), torch.optim.Adam, 0.01)
        self.head = nn.Linear(8, CLASSES)

    def loss(self, batch: tuple[PackedSequence, Tensor]) -> Tensor:
        _, last = self.net(batch[0])
        return F.cross_entropy(self.head(last[-1]), batch[1])


def sequences(given: Any) -> tuple[PackedSequence, Tensor]:
    return pack_sequence([x for x, _ in given], enforce_sorted=False), torch.stack([y for _, y in given])


@job("packed sequences")
def _(run: Run) -> None:
    data = [(torch.randn(2 + i % 4, 3), torch.tensor(i % CLASSES)) for i in range(24)]
    run.fit(Packed(), run.loader(data, batch_size=6, collate_fn=sequences), run.loader(data, batch_size=6, collate_fn=sequences))


@job("padded sequences of ragged length, masked, with ignored targets")
def _(run: Run) -> None:
    class Masked(Module):
        def loss(self, batch: Any) -> Tensor:
            x, y = batch
            scores = self(x).masked_fill((y < 0)[..., None], 0.0)
            return F.cross_entropy(scores.flatten(0, 1), y.flatten(), ignore_index=-1)

    def collate(given: Any) -> Any:
        return pad_sequence([x for x, _ in given], True), pad_sequence([y for _, y in given], True, -1)

    data = [(torch.randn(2 + i % 4, INPUTS), torch.arange(2 + i % 4) % CLASSES) for i in range(24)]
    net = nn.Sequential(nn.Linear(INPUTS, 8), nn.LayerNorm(8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, CLASSES))
    run.fit(Masked(net), run.loader(data, batch_size=6, collate_fn=collate), run.loader(data, batch_size=6, collate_fn=collate))


class Augmenting(Module):
    """Draws from all generators before and after a batch moves, and mixes labels."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0] + 0.1 * torch.randn_like(batch[0]) * random.random(), batch[1]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return tuple(part.to(device, torch.float32 if part.is_floating_point() else None) for part in batch)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not self.trainer.training:
            return batch
        share, order = float(np.random.beta(1, 1)), torch.randperm(len(batch[1]))
        hot = F.one_hot(batch[1], CLASSES).float()
        return batch[0].lerp(batch[0][order], share), hot.lerp(hot[order], share)


@job("augmentation at random before and after the transfer, mixup")
def _(run: Run) -> None:
    fit(run, Augmenting(noisy()))


@job("worker processes that stay")
def _(run: Run) -> None:
    data = run.loader(rows(), batch_size=8, shuffle=True, num_workers=1, persistent_workers=True, multiprocessing_context="fork")
    run.fit(Module(noisy()), data, run.loader(rows(16), batch_size=8, num_workers=1, multiprocessing_context="fork"))


@job("samplers and batch samplers with a generator of their own")
def _(run: Run) -> None:
    class Grouped(Sampler[list[int]]):
        def __init__(self) -> None:
            self.random = np.random.default_rng(3)

        def __iter__(self) -> Any:
            return iter(np.split(self.random.permutation(32), 4))

        def __len__(self) -> int:
            return 4

    weighted = WeightedRandomSampler(np.linspace(0.1, 1, 32).tolist(), 24, generator=torch.Generator().manual_seed(3))
    run.fit(Module(noisy()), run.loader(rows(), batch_sampler=Grouped()), run.loader(rows(), batch_size=8))
    run.fit(Module(noisy()), run.loader(rows(), batch_size=8, sampler=weighted), run.loader(rows(), batch_size=8))


class Joined(Module):
    """Sums the losses of whatever loaders gave something."""

    def parts(self, batch: Any) -> list[Any]:
        return [part for part in (batch.values() if isinstance(batch, dict) else [batch]) if part is not None]

    def loss(self, batch: Any) -> Tensor:
        losses = [F.cross_entropy(self(part[0]), part[1]) for part in self.parts(batch)]
        return torch.stack(losses).sum()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val", self.loss(batch), batch_size=8)


@job("loaders joined: shortest, longest, all in a circle")
def _(run: Run) -> None:
    for mode in ("min_size", "max_size_cycle", "max_size"):
        loaders = {"a": run.loader(table(16), batch_size=8, shuffle=True), "b": run.loader(table(24), batch_size=8)}
        val = CombinedLoader({"a": run.loader(table(8), batch_size=8), "b": run.loader(table(16), batch_size=8)}, mode)
        run.fit(Joined(noisy()), CombinedLoader(loaders, mode), val, max_epochs=1)


class Splits(LightningDataModule):
    """Makes its data as it goes, and new loaders in every epoch."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.calls = run, list[str]()

    def prepare_data(self) -> None:
        self.calls.append("prepare")

    def setup(self, stage: str) -> None:
        self.calls.append(f"setup {stage}")
        self.data = table(40)

    def train_dataloader(self) -> Any:
        self.calls.append("train")
        return self.run.loader(self.data, batch_size=8, shuffle=True)

    def val_dataloader(self) -> Any:
        self.calls.append("val")
        return [self.run.loader(table(8), batch_size=8), self.run.loader(table(8), batch_size=4)]

    def teardown(self, stage: str) -> None:
        self.calls.append(f"teardown {stage}")

    def state_dict(self) -> dict[str, Any]:
        return {"calls": len(self.calls)}


@job("a data module with random data, loaders made anew in every epoch")
def _(run: Run) -> None:
    data, module = Splits(run), Module(noisy())
    trainer = run.trainer(reload_dataloaders_every_n_epochs=1, max_epochs=3)
    trainer.fit(module, datamodule=data)
    run.note(trainer, module)
    run.parts["calls"] = digest(data.calls)
