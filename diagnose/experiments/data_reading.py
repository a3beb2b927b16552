"""Reading a loader without leaving a trace: in this process, bounded, through copies of what iteration could change."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from diagnose.experiments.batches import leaves
from diagnose.experiments.data_copies import Unreadable, copied, generators_kept
from diagnose.experiments.sandbox import random_state_kept
from diagnose.namespace import is_combined

BYTES = 1 << 27  # bytes kept of one loader
LISTED = 50_000  # batches of an epoch that are enumerated to choose from
ENOUGH = 8  # batches without which a sample that time cut short says nothing of the epoch
FEW = 1024  # rows that are read of a data set even if its batches are so small that this takes more of them
BLOCK = 16  # rows that are read in a row, so that the order within an epoch shows also at batch size 1

Batch = tuple[int, list[int], Any]  # number of the batch in the epoch, rows of the data set (if known), batch


@dataclass(slots=True, eq=False)
class Sample:
    """What was read of one loader.

    Attributes:
        fields: Path → the tensors of that field, one per batch that has it; floats are float32 or wider.
        batches: Path → the numbers (in ``sizes``) of the batches that these tensors come from.
        sizes: Rows of each batch that was read.
        places: Which batch of the epoch each one was.
        rows: Rows of the data set in each batch, ``[]`` where they are not known.
        order: ``sequential``, ``random``, ``weighted``, ``custom`` (somebody's own sampler) or ``stream``.
        total: Rows in an epoch, ``None`` where that is not known.
        drawn: Share of the data set's rows that the first epoch of somebody's own sampler takes, ``None`` where that is not known.
        block: Consecutive batches that were read together.
        late: Whether time ran out before all that was wanted had been read.
    """

    fields: dict[str, list[Tensor]] = field(default_factory=dict)
    batches: dict[str, list[int]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    order: str = "custom"
    total: int | None = None
    drawn: float | None = None
    block: int = 1
    late: bool = False

    @property
    def count(self) -> int:
        """Rows read."""
        return sum(self.sizes)

    @property
    def cut(self) -> bool:
        """Whether time ran out after so few batches that they may be unlike the rest."""
        return self.late and len(self.sizes) < ENOUGH

    @property
    def coverage(self) -> float | None:
        """Share of the epoch's rows that was read, ``None`` where the length is not known."""
        return min(1.0, self.count / self.total) if self.total else None

    def of(self, path: str) -> Tensor | None:
        """One field of all rows, shape ``(count, ...)``; ``None`` where batches lack it, differ in shape or have another length."""
        parts = self.fields.get(path, [])
        if not parts or len({p.shape[1:] for p in parts}) > 1 or [len(p) if p.dim() else -1 for p in parts] != self.sizes:
            return None
        return torch.cat(parts)


def read(loaders: Any, *, batches: int, samples: int, seconds: float) -> Sample:
    """Read up to ``batches`` batches, ``samples`` rows and ``seconds`` of whatever Lightning accepts as a training loader.

    Small batches of a data set are read until there are 1024 rows. A map-style loader without shuffling is read at places spread over its
    epoch, since its first batches may be unlike the rest, and in an order that leaves them spread wherever the time ends. Data sets,
    samplers and collate functions are used as copies; generators at module level are put back.

    Raises:
        Unreadable: No loader, no batch, no tensor, a plain iterator, a stream that cannot be copied, or an error of the loader's own.
    """
    sample = Sample()
    deadline = time.monotonic() + seconds
    taken: list[tuple[int, list[int], int, list[tuple[str, Tensor]]]] = []
    count = kept = 0
    try:
        with random_state_kept(), generators_kept(loaders):
            for place, rows, batch in _batches(loaders, sample, (batches, samples)):
                found = [(path, _plain(tensor)) for path, tensor in leaves(_tensors(batch))]
                if not found:
                    raise Unreadable(f"a batch of type {type(batch).__name__} holds no tensor")
                lengths = [len(t) for _, t in found if t.dim() > 0]
                size = max(lengths, key=lengths.count, default=1)
                found = [(path, tensor) for path, tensor in found if 0 not in tensor.shape[1:]]  # not rows without columns
                taken.append((place, rows, size, found))
                count += size
                kept += sum(tensor.numel() * tensor.element_size() for _, tensor in found)
                if count >= samples or kept >= BYTES:
                    break
                if time.monotonic() > deadline:
                    sample.late = True
                    break
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"the loader raised {type(error).__name__}: {error}") from error
    if not taken:
        raise Unreadable("the loader gave no batch")
    for number, (place, rows, size, found) in enumerate(sorted(taken, key=itemgetter(0))):
        for path, tensor in found:
            sample.fields.setdefault(path, []).append(tensor)
            sample.batches.setdefault(path, []).append(number)
        sample.sizes.append(size)
        sample.places.append(place)
        sample.rows.append(rows)
    sample.late = sample.late and sample.coverage != 1.0
    if not sample.count:
        raise Unreadable("the loader's batches are empty")
    return sample


def _tensors(batch: Any) -> Any:
    """Arrays as tensors, so that they are fields as well."""
    if isinstance(batch, np.ndarray):
        return torch.from_numpy(batch.copy()) if batch.dtype.kind in "biufc" else None
    if type(batch) is dict:
        return {k: _tensors(v) for k, v in batch.items()}
    return [_tensors(v) for v in batch] if type(batch) in (list, tuple) else batch


def _plain(tensor: Tensor) -> Tensor:
    """A dense tensor of its own on the CPU; half-precision floats are widened, complex numbers get a dimension of two."""
    tensor = tensor.detach().as_subclass(Tensor)
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    tensor = torch.view_as_real(tensor.cpu().resolve_conj()) if tensor.is_complex() else tensor.cpu()
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor.clone()


def _batches(loaders: Any, sample: Sample, limits: tuple[int, int]) -> Iterator[Batch]:
    """The batches of one loader, or of several side by side as Lightning combines them."""
    mode = "min_size"
    if is_combined(loaders):
        mode, loaders = loaders._mode, loaders.iterables
    if loaders is None:
        raise Unreadable("there is no loader")
    if not isinstance(loaders, (list, tuple, dict)):
        yield from _read_one(loaders, sample, limits)
        return
    flat, structure = tree_flatten(loaders, is_leaf=lambda x: not isinstance(x, (list, tuple, dict)))
    if not flat:
        raise Unreadable("there is no loader")
    if mode == "sequential":
        begun = 0
        for one in flat:
            last = begun - 1
            for place, rows, batch in _read_one(one, sample, limits):
                last = max(last, begun + place)
                yield begun + place, rows, batch
            begun = last + 1
        return
    parts = [Sample() for _ in flat]
    streams = [_read_one(one, part, limits) for one, part in zip(flat, parts, strict=True)]
    for group in zip(*streams, strict=False):
        sample.order, sample.total, sample.drawn, sample.block = parts[0].order, parts[0].total, parts[0].drawn, parts[0].block
        yield group[0][0], group[0][1], tree_unflatten([batch for _, _, batch in group], structure)


def _read_one(loader: Any, sample: Sample, limits: tuple[int, int]) -> Iterator[Batch]:
    if isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__:
        if isinstance(loader.dataset, IterableDataset):
            yield from islice(_stream(loader, sample), limits[0])
        else:
            yield from _mapped(loader, sample, limits)
    elif hasattr(loader, "__next__"):
        raise Unreadable("the loader is a plain iterator: reading it would take its batches from training")
    elif not hasattr(loader, "__iter__") or isinstance(loader, Tensor):
        raise Unreadable(f"a {type(loader).__name__} is not a loader that can be iterated over")
    else:
        sample.order = "custom"
        own = copied(loader, "the loader")
        if isinstance(own, DataLoader):
            own.num_workers = 0
        for place, batch in enumerate(islice(own, limits[0])):
            yield place, [], batch


def _stream(loader: DataLoader[Any], sample: Sample) -> Iterator[Batch]:
    sample.order = "stream"
    dataset, collate = copied((loader.dataset, loader.collate_fn), "the stream")
    rows = iter(dataset)
    if loader.batch_size is None:
        for place, row in enumerate(rows):
            yield place, [], collate(row)
        return
    for place in range(sys.maxsize):
        chunk = list(islice(rows, loader.batch_size))
        if not chunk or (loader.drop_last and len(chunk) < loader.batch_size):
            return
        yield place, [], collate(chunk)


def _mapped(loader: DataLoader[Any], sample: Sample, limits: tuple[int, int]) -> Iterator[Batch]:
    sample.order = _order(loader)
    parts = (loader.dataset, loader.batch_sampler, loader.sampler, loader.collate_fn)
    dataset, batch_sampler, sampler, collate = parts if _stateless(loader) else copied(parts, "the data set", share=loader.dataset)
    chosen = batch_sampler if batch_sampler is not None else sampler
    sample.total, held = _rows(loader), _length(loader.dataset)
    size = getattr(batch_sampler, "batch_size", None) or 1
    count = max(min(limits[0], -(-limits[1] // size)), -(-FEW // size))
    for place, index in _spread(chosen, sample, count, size, held):
        if batch_sampler is None:
            yield place, [index] if isinstance(index, int) else [], collate(dataset[index])
            continue
        rows = list(index)
        fetch: Callable[[list[Any]], Any] | None = getattr(dataset, "__getitems__", None)
        yield place, rows if all(isinstance(r, int) for r in rows) else [], collate(fetch(rows) if fetch else [dataset[r] for r in rows])


def _spread(chosen: Any, sample: Sample, count: int, size: int, held: int | None) -> Iterator[tuple[int, Any]]:
    """Batches spread evenly over the epoch in blocks of consecutive ones; of a shuffled order, which is the same everywhere, the first.

    Of ``held`` rows, those that somebody's own sampler takes are counted.
    """
    if sample.order == "random" or not hasattr(chosen, "__len__"):
        yield from enumerate(islice(chosen, count))
        return
    length = min(len(chosen), LISTED)
    block = min(max(1, BLOCK // size), count)
    starts = range(0, length, block)
    if length > count:
        sample.block = block
        starts = np.linspace(0, length - block, max(1, count // block)).astype(int).tolist()
    block_of = {start + k: number for number, start in enumerate(starts) for k in range(block)}
    blocks: list[list[tuple[int, Any]]] = [[] for _ in starts]
    taken: set[int] = set()
    for place, index in enumerate(islice(chosen, length)):
        if place in block_of:
            blocks[block_of[place]].append((place, index))
        if sample.order == "custom":
            taken.update(row for row in ([index] if isinstance(index, int) else index) if isinstance(row, int))
    if held and taken and length < LISTED:
        sample.drawn = len(taken) / held
    for number in _visits(len(blocks)):
        yield from blocks[number]


def _visits(count: int) -> list[int]:
    """The numbers below ``count`` in an order of which every beginning is spread over all of them (that of van der Corput)."""
    return sorted(range(count), key=lambda number: f"{number:b}".zfill(count.bit_length())[::-1])


def _order(loader: DataLoader[Any]) -> str:
    if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
        return "custom"
    kinds = {SequentialSampler: "sequential", RandomSampler: "random", SubsetRandomSampler: "random", WeightedRandomSampler: "weighted"}
    return kinds.get(type(loader.sampler), "custom")


def _rows(loader: DataLoader[Any]) -> int | None:
    """Rows of the data set that an epoch draws from; not known where the data set's items are batches."""
    if loader.batch_sampler is None:
        return None
    lengths = [_length(one) for one in (loader.dataset, *([loader.sampler] if type(loader.batch_sampler) is BatchSampler else []))]
    return None if None in lengths else min(n for n in lengths if n is not None) or None


def _length(rows: Any) -> int | None:
    try:
        return len(rows)
    except TypeError:
        return None


def _stateless(loader: DataLoader[Any]) -> bool:
    """Nothing of the loader keeps a state of its own that reading could change (its generators are put back in any case)."""
    dataset: Any = loader.dataset
    while type(dataset) is Subset:
        dataset = dataset.dataset
    known = (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
    plain = type(dataset) in (list, tuple, Tensor, np.ndarray, TensorDataset) and isinstance(loader.collate_fn, types.FunctionType)
    return plain and type(loader.sampler) in known and type(loader.batch_sampler) in (BatchSampler, type(None))


def chosen_rows(loader: Any) -> tuple[int, frozenset[int]] | None:
    """The identity of a data set and the rows that a loader takes from it through `Subset` s or a `SubsetRandomSampler`, else ``None``."""
    dataset, sampler = getattr(loader, "dataset", None), getattr(loader, "sampler", None)
    rows: list[int] | None = list(sampler.indices) if type(sampler) is SubsetRandomSampler else None
    while type(dataset) is Subset:
        rows = list(dataset.indices) if rows is None else [dataset.indices[r] for r in rows]
        dataset = dataset.dataset
    return None if rows is None else (id(dataset), frozenset(map(int, rows)))
