"""The batches that a loader would give, taken through copies of what iteration could change, at places spread over its epoch."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from itertools import islice
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

from diagnose.experiments.data_copies import Unreadable, copied
from diagnose.experiments.data_sample import Sample
from diagnose.namespace import is_combined

LISTED = 50_000  # batches of an epoch that are enumerated to choose from
FEW = 1024  # rows that are read of a data set even if its batches are so small that this takes more of them
BLOCK = 16  # rows that are read in a row, so that the order within an epoch shows also at batch size 1

Batch = tuple[int, list[int], Any]  # number of the batch in the epoch, rows of the data set (if known), batch


def batches_of(loaders: Any, sample: Sample, limits: tuple[int, int]) -> Iterator[Batch]:
    """The batches of one loader, or of several side by side as Lightning combines them; ``limits`` are batches and rows to read at most.

    How the loader orders its rows, how many there are, and how many batches are consecutive, is noted in ``sample``.
    """
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
    sample.weights = torch.as_tensor(loader.sampler.weights) if isinstance(loader.sampler, WeightedRandomSampler) else None
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
