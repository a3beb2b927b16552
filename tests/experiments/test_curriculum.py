"""Who changes the training data as training goes on."""

from __future__ import annotations

import multiprocessing
from collections import deque
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from diagnose.callbacks import Doctor
from diagnose.experiments.check import check
from diagnose.experiments.curriculum import changes_data, shared_state
from diagnose.record import Record
from tests.callbacks.plain_training import fit
from tests.experiments.odd import Classifier, blobs, loaders


class Growing(Dataset[Any]):
    def __init__(self) -> None:
        self.stage = 1

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return torch.full((8,), float(self.stage * index)), index % 3


class Holding(Classifier):
    """Keeps its data, as modules that make their own loaders do."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data


class Staged(Holding):
    def on_train_epoch_start(self) -> None:
        self.data.stage = self.current_epoch


class ByTrainer(Classifier):
    def on_train_epoch_end(self) -> None:
        self.trainer.train_dataloader.dataset.stage += 1  # type: ignore[union-attr]


class Stage(Callback):
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.train_dataloader.dataset.stage += 1


DATA = Growing()


class Numbering:
    """Numbers words as they come."""

    def __init__(self, grows: bool) -> None:
        self.grows, self.known = grows, dict.fromkeys(range(99), 0)

    def __call__(self, items: Any) -> Any:
        rows = [[self.known.setdefault(word, len(self.known)) for word in row.tolist()] for row, _ in items] if self.grows else []
        return torch.tensor(rows or [row.tolist() for row, _ in items]), torch.tensor([label for _, label in items])


@pytest.mark.parametrize("grows", [True, False])
def test_a_collate_function_that_notes_what_it_reads(grows: bool) -> None:
    collate = Numbering(grows)
    items = [(torch.arange(8.0) * 100 + i, i % 3) for i in range(40)]
    loader: DataLoader[Any] = DataLoader(items, batch_size=8, collate_fn=collate)  # type: ignore[arg-type]
    assert changes_data(Classifier(), loader) == ("Numbering.__call__" if grows else "")
    assert len(collate.known) == 99


@pytest.mark.parametrize(
    ("module", "callbacks", "hook"),
    [
        (Classifier(), [], ""),
        (Holding(DATA), [], ""),
        (Staged(Growing()), [], ""),
        (Staged(DATA), [], "Staged.on_train_epoch_start"),
        (ByTrainer(), [], "ByTrainer.on_train_epoch_end"),
        (Classifier(), [Stage()], "Stage.on_train_epoch_start"),
    ],
)
def test_who_changes_the_data(module: Any, callbacks: list[Callback], hook: str) -> None:
    trainer = Trainer(callbacks=callbacks, logger=False, enable_checkpointing=False, accelerator="cpu")
    for data in (DATA, Subset(DATA, range(20))):
        assert changes_data(module, DataLoader(data, batch_size=8), trainer) == hook


class Set(Dataset[Any]):
    """Counts in some way what it has given."""

    def __init__(self, count: str = "", level: Any = None) -> None:
        self.x, self.y = blobs()
        self.level, self.count, self.given, self.size = level, count, 0, 40
        self.seen: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        if self.count == "number":
            self.given += 1
        elif self.count == "length":
            self.size += 1
        elif self.count == "cache":
            self.seen[index] = self.x[index]
        return self.x[index], self.y[index]


@pytest.mark.parametrize(("count", "found"), [("", ""), ("cache", ""), ("number", "Set.__getitem__"), ("length", "Set.__getitem__")])
def test_a_data_set_that_counts_what_is_read(count: str, found: str) -> None:
    data = Set(count)
    for part in (data, Subset(data, range(20))):
        assert changes_data(Classifier(), DataLoader(part, batch_size=8)) == found
    assert (data.given, data.size, data.seen) == (0, 40, {})


class Setting(Classifier):
    def __init__(self, level: Any) -> None:
        super().__init__()
        self.level = level

    def on_train_epoch_end(self) -> None:
        self.level.value += 1


@pytest.mark.parametrize("shared", [True, False])
def test_a_setting_that_the_data_set_holds_as_well(shared: bool) -> None:
    data = Set(level=multiprocessing.Value("i", 0))
    module = Setting(data.level if shared else multiprocessing.Value("i", 0))
    assert changes_data(module, DataLoader(data, batch_size=8)) == ("Setting.on_train_epoch_end" if shared else "")


class Replayed(IterableDataset[Any]):
    def __init__(self, buffer: deque[Any]) -> None:
        self.buffer = buffer

    def __iter__(self) -> Any:
        return iter([self.buffer[i % len(self.buffer)] for i in range(64)])


class Player(Classifier):
    """Keeps a buffer that it plays into, or only looks at."""

    def __init__(self, buffer: deque[Any], plays: bool) -> None:
        super().__init__()
        self.buffer, self.plays = buffer, plays

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.plays:
            self.buffer.append((batch[0][0], batch[1][0]))
        return super().training_step(batch, len(self.buffer))


@pytest.mark.parametrize(("plays", "found"), [(True, "Player.training_step"), (False, None)])
def test_a_buffer_that_the_steps_write_to(plays: bool, found: str | None) -> None:
    buffer: deque[Any] = deque(zip(*blobs(), strict=True), maxlen=128)
    first, record = buffer[0], Record()
    check(Player(buffer, plays), DataLoader(Replayed(buffer), batch_size=16), loaders()[1], record=record)
    assert record.facts.get("data.changed_by") == found
    assert len(buffer) == 128
    assert buffer[0] is first


def test_a_buffer_of_tensors_made_in_inference_mode_can_be_looked_at() -> None:
    with torch.inference_mode():
        buffer: deque[Any] = deque([(torch.zeros(4), torch.tensor(0))])
    player = Player(buffer, plays=False)
    look = shared_state(player, DataLoader(Replayed(buffer), batch_size=16))
    before = look(player)
    buffer.append(buffer[0])
    assert look(player) != before


def test_a_data_set_that_grows_in_training() -> None:
    class Grown(Classifier):
        def on_train_epoch_end(self) -> None:
            growing[0].size += 8

    growing = [Set()]
    doctor = Doctor(strict=True)
    fit(Grown(), doctor, loader=DataLoader(growing[0], batch_size=8), val=loaders()[1], max_epochs=2)
    assert doctor.record.facts["data.changed_by"] == "the length of the data set: 40 at first"
