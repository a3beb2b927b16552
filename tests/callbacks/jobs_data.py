"""Kinds of data and loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset

from tests.callbacks.identity import Run, digest
from tests.callbacks.trainings import CLASSES, INPUTS, Jobs, Module, noisy, table

job = Jobs()


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
