"""Reading leaves no trace, and says why it cannot read."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, Sampler, Subset, SubsetRandomSampler, TensorDataset

from diagnose.experiments import data_reading
from diagnose.experiments.data_copies import LONG, Unreadable, copied
from diagnose.experiments.data_identity import keys
from diagnose.experiments.data_reading import read
from diagnose.experiments.loader_batches import chosen_rows

EMPTY: Any = []
WORDS: Any = ["a", "b"]
AT_MODULE_LEVEL = np.random.default_rng(5)


def sample(loaders: Any, batches: int = 64, samples: int = 4096) -> Any:
    return read(loaders, batches=batches, samples=samples, seconds=math.inf)


def rows(n: int, width: int = 3) -> TensorDataset:
    return TensorDataset(torch.arange(float(n * width)).reshape(n, width), torch.arange(n))


def test_complex_numbers_are_read_whole() -> None:
    """As whole numbers of their real parts, most symbols of a radio signal looked equal."""
    signal = torch.randn(40, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    found = sample(DataLoader(TensorDataset(signal.conj()), batch_size=8))
    whole = found.of("batch[0]")
    assert whole.shape == (40, 3, 2)
    torch.testing.assert_close(torch.view_as_complex(whole), signal.conj().resolve_conj())
    assert len(set(keys(found, ["batch[0]"]) or ())) == 40


class Noisy(Dataset[Tensor]):
    """Draws from every generator that a data set may have."""

    def __init__(self) -> None:
        self.own = np.random.default_rng(0)
        self.torch = torch.Generator().manual_seed(0)
        self.seen = 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Tensor:
        self.seen += 1
        draws = [self.own.normal(), AT_MODULE_LEVEL.normal(), random.random(), np.random.rand(), torch.rand(()).item()]
        return torch.tensor([*draws, torch.rand((), generator=self.torch).item()])


class Stream(IterableDataset[Tensor]):
    """A stream that goes on where it was left."""

    def __init__(self, n: int = 1000) -> None:
        self.position, self.n = 0, n

    def __iter__(self) -> Iterator[Tensor]:
        while self.position < self.n:
            self.position += 1
            yield torch.tensor([float(self.position)])


def test_fields_have_the_paths_of_the_batch() -> None:
    listed: Any = [{"a": torch.ones(2), "b": {"c": 1}} for _ in range(4)]
    loader = DataLoader(listed, batch_size=2)
    assert set(sample(loader).fields) == {'batch["a"]', 'batch["b"]["c"]'}


def test_every_generator_is_as_before() -> None:
    def draw() -> list[float]:
        own = [noisy.own.normal(), AT_MODULE_LEVEL.normal(), random.random(), np.random.rand(), torch.rand(()).item()]
        return [*own, torch.rand((), generator=noisy.torch).item(), torch.rand((), generator=order).item()]

    noisy, order = Noisy(), torch.Generator().manual_seed(3)
    loader = DataLoader(noisy, batch_size=8, shuffle=True, generator=order)
    states = [noisy.own.bit_generator.state, AT_MODULE_LEVEL.bit_generator.state, random.getstate(), np.random.get_state()]
    tensors = [torch.get_rng_state(), noisy.torch.get_state(), order.get_state()]
    sample(loader)
    before = draw()
    noisy.own.bit_generator.state, AT_MODULE_LEVEL.bit_generator.state = states[0], states[1]  # type: ignore[assignment]
    random.setstate(states[2])  # type: ignore[arg-type]
    np.random.set_state(states[3])  # type: ignore[arg-type]
    torch.set_rng_state(tensors[0])
    noisy.torch.set_state(tensors[1])
    order.set_state(tensors[2])
    assert draw() == before
    assert noisy.seen == 0


def test_a_stream_loses_nothing() -> None:
    stream = Stream()
    found = sample(DataLoader(stream, batch_size=4), batches=10)
    assert found.order == "stream"
    assert found.count == 40
    assert stream.position == 0


def test_a_stream_that_cannot_be_copied_is_not_read() -> None:
    stream = Stream()
    stream.source = (x for x in range(3))  # type: ignore[attr-defined]
    with pytest.raises(Unreadable, match=r"the stream cannot be copied .*generator.*would change what training sees"):
        sample(DataLoader(stream, batch_size=4))
    assert stream.position == 0


def test_a_data_set_that_cannot_be_copied_is_read_in_place() -> None:
    class Locked(Noisy):
        def __init__(self) -> None:
            super().__init__()
            self.handle = (x for x in range(3))

    locked = Locked()
    state = locked.own.bit_generator.state
    assert sample(DataLoader(locked, batch_size=8)).count == 40
    assert locked.own.bit_generator.state == state


def test_copies_share_what_is_large() -> None:
    small, long, large = torch.ones(3), [torch.ones(1)] * (LONG + 1), torch.empty(1 << 26, dtype=torch.uint8)
    first = copied({"small": small, "long": long}, "it")
    assert first["small"] is not small
    assert first["long"] is long
    assert copied({"large": large, "small": small}, "it")["large"] is large


def test_a_collate_function_that_cannot_be_copied() -> None:
    class Collate:
        def __init__(self) -> None:
            self.handle = (x for x in range(3))

        def __call__(self, batch: Any) -> Any:
            return batch

    with pytest.raises(Unreadable, match="the data set's sampler or collate function cannot be copied"):
        sample(DataLoader(rows(8), collate_fn=Collate()))


def test_a_sampler_that_shuffles_in_place_keeps_its_order() -> None:
    class Own(torch.utils.data.Sampler[int]):
        def __init__(self) -> None:
            self.order, self.epoch = list(range(12)), 0

        def __iter__(self) -> Iterator[int]:
            self.epoch += 1
            random.shuffle(self.order)
            return iter(self.order)

        def __len__(self) -> int:
            return 12

    own = Own()
    assert sample(DataLoader(rows(12), batch_size=4, sampler=own)).order == "custom"
    assert (own.order, own.epoch) == (list(range(12)), 0)


def test_a_plain_iterator_is_not_touched() -> None:
    batches = iter([torch.ones(2, 3)] * 5)
    with pytest.raises(Unreadable, match="the loader is a plain iterator: reading it would take its batches from training"):
        sample(batches)
    assert len(list(batches)) == 5


def test_workers_are_not_started() -> None:
    loader = DataLoader(rows(32), batch_size=4, num_workers=2, multiprocessing_context="spawn")
    assert sample(loader).count == 32
    assert loader._iterator is None


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (None, "there is no loader"),
        ([], "there is no loader"),
        (DataLoader(EMPTY, batch_size=2), "the loader gave no batch"),
        (DataLoader(WORDS, batch_size=2), "a batch of type list holds no tensor"),
        (3, "a int is not a loader that can be iterated over"),
        (torch.ones(3), "a Tensor is not a loader that can be iterated over"),
    ],
)
def test_why_it_cannot_be_read(loader: Any, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        sample(loader)


class Broken(Dataset[Tensor]):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        raise self.error


def test_what_the_loader_raises_is_the_reason() -> None:
    with pytest.raises(Unreadable, match=r"the loader raised FileNotFoundError: cat\.jpg") as caught:
        sample(DataLoader(Broken(FileNotFoundError("cat.jpg")), batch_size=2))
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        sample(DataLoader(Broken(KeyboardInterrupt()), batch_size=2))


def test_an_unshuffled_loader_is_read_all_over_its_epoch() -> None:
    found = sample(DataLoader(rows(100_000), batch_size=32), batches=32)
    assert (found.order, found.total, len(found.sizes)) == ("sequential", 100_000, 32)
    assert found.places[0] == 0
    assert found.places[-1] == 3124
    assert found.coverage == pytest.approx(1024 / 100_000)


def test_single_rows_are_read_in_runs() -> None:
    found = sample(DataLoader(rows(10_000), batch_size=1))
    assert (found.block, found.count) == (16, 1024)
    assert found.places[:17] == [*range(16), found.places[16]]
    assert found.places[16] > 16


def test_wherever_the_time_ends_what_was_read_is_spread_over_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            self.now += 1.0
            return self.now

    for total in (64, 1000):  # all batches are wanted, or some
        for batches in (2, 5, 8, 40):
            monkeypatch.setattr(data_reading, "time", Clock())
            found = read(DataLoader(rows(16 * total), batch_size=16), batches=64, samples=9999, seconds=batches - 0.5)
            assert found.late
            assert len(found.places) == batches
            assert found.places == sorted(found.places)
            assert [index[0] // 16 for index in found.rows] == found.places
            assert np.diff([0, *found.places, total]).max() <= 2 * total / batches + total / 64
    whole = sample(DataLoader(rows(64), batch_size=2))
    assert not whole.late
    assert whole.places == list(range(32))


def test_limits_hold() -> None:
    assert sample(DataLoader(rows(100_000), batch_size=500, shuffle=True), samples=4000).count == 4000
    assert len(sample(DataLoader(Stream(), batch_size=2), batches=5).sizes) == 5


def test_several_loaders_are_read_side_by_side() -> None:
    one, two = DataLoader(rows(8), batch_size=4), DataLoader(rows(20), batch_size=2)
    assert set(sample({"x": one, "y": two}).fields) == {f'batch["{key}"][{i}]' for key in "xy" for i in (0, 1)}
    assert sample([one, two]).fields["batch[1][0]"][0].shape == (2, 3)
    combined = CombinedLoader([one, two], "sequential")
    assert sample(combined).sizes == [4, 4, *[2] * 10]


def test_batches_without_a_sampler_and_of_arrays() -> None:
    class Ready(Dataset[Any]):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            if index >= 5:
                raise IndexError
            return np.full((7, 2), index, dtype=np.float32)

    found = sample(DataLoader(Ready(), batch_size=None, collate_fn=lambda x: x))
    assert found.sizes == [7] * 5
    assert found.of("batch").shape == (35, 2)


def test_rows_chosen_from_one_data_set() -> None:
    data = rows(10)
    loader = DataLoader(Subset(Subset(data, range(5, 10)), [0, 2]))
    assert chosen_rows(loader) == (id(data), frozenset({5, 7}))
    assert chosen_rows(DataLoader(data, sampler=SubsetRandomSampler([1, 2]))) == (id(data), frozenset({1, 2}))
    assert chosen_rows(DataLoader(data)) is None


@pytest.mark.parametrize("replacement", [True, False])
def test_orders_are_named(replacement: bool) -> None:
    assert sample(DataLoader(rows(9), batch_size=3, sampler=RandomSampler(range(9), replacement=replacement))).order == "random"


class Growing(Sampler[int]):
    """Half of the rows in the first epoch, all of them in the second."""

    def __init__(self, n: int) -> None:
        self.rows, self.epoch = n, 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(range(min(self.rows, self.epoch * self.rows // 2)))

    def __len__(self) -> int:
        return min(self.rows, (self.epoch + 1) * self.rows // 2)


def test_how_much_of_its_data_set_a_sampler_of_ones_own_takes_at_first() -> None:
    own = Growing(40)
    assert sample(DataLoader(rows(40), batch_size=4, sampler=own)).drawn == 0.5
    assert own.epoch == 0
    assert sample([DataLoader(rows(40), batch_sampler=[[1, 2], [2, 3]])]).drawn == 3 / 40
    for other in (DataLoader(rows(40), shuffle=True), DataLoader(rows(40), sampler=SubsetRandomSampler([1, 2]))):
        assert sample(other).drawn is None


def test_rows_without_columns_are_no_field() -> None:
    items: Any = [{"x": torch.ones(2), "categories": torch.ones(0), "deep": torch.ones(3, 0)} for _ in range(8)]
    assert list(sample(DataLoader(items, batch_size=4)).fields) == ['batch["x"]']
