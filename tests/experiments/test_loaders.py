from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

from diagnose.experiments.copying import Unusable
from diagnose.experiments.loaders import first_batches, first_loader, length, own_loaders
from tests.experiments.odd import Classifier, blobs, loaders


class Counting(Dataset[tuple[Tensor, Tensor]]):
    """A data set that remembers how often it was read."""

    def __init__(self) -> None:
        self.data, self.reads = blobs(), 0

    def __len__(self) -> int:
        return 128

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        return self.data[0][index], self.data[1][index]


class Stream(IterableDataset[Tensor]):
    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[Tensor]:
        while self.position < 100:
            self.position += 1
            yield torch.tensor(float(self.position))


class Batches(Sampler[list[int]]):
    def __init__(self) -> None:
        self.epoch, self.generator = 0, torch.Generator().manual_seed(1)

    def __iter__(self) -> Iterator[list[int]]:
        self.epoch += 1
        for rows in torch.randperm(128, generator=self.generator).split(16):  # type: ignore[no-untyped-call]
            yield rows.tolist()


def test_as_many_batches_as_asked_for() -> None:
    train, _ = loaders()
    batches = first_batches(train, 3)
    assert [len(x) for x, _ in batches] == [16, 16, 16]
    assert len(first_batches(train, 99)) == 6
    assert len(first_batches(train, 99, seconds=0.0)) == 1


def test_data_sets_samplers_and_streams_keep_their_state() -> None:
    data, batches, stream = Counting(), Batches(), Stream()
    assert len(first_batches(DataLoader(data, 16, shuffle=True), 4)) == 4
    assert data.reads == 0
    state = batches.generator.get_state()
    assert len(first_batches(DataLoader(TensorDataset(*blobs()), batch_sampler=batches), 4)) == 4
    assert batches.epoch == 0
    assert torch.equal(batches.generator.get_state(), state)
    read = first_batches(DataLoader(stream, batch_size=10), 4)
    assert read[0].tolist() == [float(i) for i in range(1, 11)]
    assert stream.position == 0


def test_a_seeded_generator_gives_training_what_it_would_have_given() -> None:
    def order(look: bool) -> list[int]:
        loader = DataLoader(TensorDataset(torch.arange(32)), 8, shuffle=True, generator=torch.Generator().manual_seed(5))
        if look:
            first_batches(loader, 2)
        return [int(i) for (rows,) in loader for i in rows]

    assert order(look=True) == order(look=False)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_several_loaders_are_read_side_by_side() -> None:
    train, val = loaders()
    assert set(first_batches({"a": train, "b": val}, 1)[0]) == {"a", "b"}
    assert len(first_batches([train, val], 1)[0]) == 2
    assert set(first_batches({"a": [train, {"q": val}]}, 1)[0]["a"][1]) == {"q"}
    assert set(first_batches(CombinedLoader({"a": train, "b": val}), 1)[0]) == {"a", "b"}
    assert len(first_batches(CombinedLoader([train, val], mode="sequential"), 99)) == 8


class Failing:
    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (None, "there is no loader"),
        ([], "there is no loader"),
        (DataLoader([], 4), "the loader gave no batch"),  # type: ignore[arg-type]
        ((i for i in range(3)), "plain iterator: reading it would take its batches from training"),
        (Failing(), r"the loader raised OSError: the disk is gone \(test_loaders.py:\d+, in __iter__\)"),
        (3, "a int is not a loader"),
    ],
)
def test_what_cannot_be_read(loader: Any, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        first_batches(loader, 2)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_the_first_of_several() -> None:
    train, val = loaders()
    for several in ([train, val], (train, val), {"a": train, "b": val}, CombinedLoader([train, val]), [[train], val], train):
        assert first_loader(several) is train
    assert first_loader([]) is None


def test_lengths() -> None:
    train, val = loaders()
    assert (length(train), length([val, train]), length({"a": val}), length(None), length([])) == (6, 6, 2, None, None)
    assert length(DataLoader(Stream(), 4)) is None
    assert length(Failing()) is None


class Module(Classifier):
    data: TensorDataset

    def prepare_data(self) -> None:
        self.prepared = True

    def setup(self, stage: str) -> None:
        assert stage == "fit"
        self.data = TensorDataset(*blobs())

    def train_dataloader(self) -> Any:
        return DataLoader(self.data, 16 // self.trainer.world_size)

    def val_dataloader(self) -> Any:
        return [DataLoader(self.data, 16)]


class Data(LightningDataModule):
    def setup(self, stage: str) -> None:
        self.data = TensorDataset(*blobs())

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        return DataLoader(self.data, 16 // self.trainer.world_size)


def test_the_loaders_of_a_module_are_made_by_a_copy() -> None:
    module = Module()
    train, val, data = own_loaders(module, None, None, None)
    assert (length(train), length(val), data) == (8, 8, None)
    assert not hasattr(module, "prepared")
    assert not hasattr(module, "data")
    assert module._trainer is None
    given, _, _ = own_loaders(module, None, None, Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"))
    assert length(given) == 8


def test_the_loaders_of_a_data_module() -> None:
    data = Data()
    train, val, ready = own_loaders(Classifier(), data, None, None)
    assert (length(train), val) == (8, None)
    assert isinstance(ready, Data)
    assert ready is not data
    assert not hasattr(data, "data")
    assert data.trainer is None
    keep, _ = loaders()
    assert own_loaders(Classifier(), data, keep, None)[1] is keep


def test_no_loaders_and_failing_ones() -> None:
    with pytest.raises(Unusable, match="there is no training loader"):
        own_loaders(Classifier(), None, None, None)

    class Broken(Data):
        def setup(self, stage: str) -> None:
            raise RuntimeError("no data here")

    with pytest.raises(
        Unusable, match=r"the training data cannot be set up \(RuntimeError: no data here \(test_loaders.py:\d+, in setup\)\)"
    ):
        own_loaders(Classifier(), Broken(), None, None)
