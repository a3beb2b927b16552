"""Whether a collate function puts inputs into another order than their targets, as where it sorts sequences by their length."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from diagnose.experiments.data_copies import copied, generators_kept
from diagnose.experiments.data_reading import fields_of
from diagnose.experiments.data_roles import Roles
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.sandbox import random_state_kept
from diagnose.namespace import is_combined

ITEMS, FEWEST = 24, 8  # items that are put together, and rows that must be known again
SECONDS = 0.3


def collated(sample: Sample, loaders: Any, parts: Roles) -> dict[str, Any] | None:
    """Put some items together, and each of them alone, by the loader's own collate function, and find each row of the batch again.

    A row of an input is that of an item if it begins like that and goes on with padding, and no other item does. Items are read once, in
    an order that is drawn, and through a copy of the data set.

    Returns:
        ``input`` and ``target`` (paths), ``rows`` (that were found again) and ``apart``: how many have the target of another item, though
        all of their targets are those of some item. ``None`` where the items are not found again, the batch holds an order of its rows, or
        one of its inputs goes with the targets.
    """
    loaders = loaders.iterables if is_combined(loaders) else loaders
    if not isinstance(loaders, DataLoader) or loaders.batch_sampler is None or isinstance(loaders.dataset, IterableDataset):
        return None
    if loaders.collate_fn is default_collate or parts.target is None or "target" in parts.guessed:
        return None
    try:
        with random_state_kept(), generators_kept(loaders):
            read = _read(sample, loaders, time.monotonic() + SECONDS)
    except Exception:  # a collate function may want another number of items
        return None
    if read is None:
        return None
    batch, alone = read
    n = len(alone)
    if parts.target not in batch or any(_is_order(tensor, n) for tensor in batch.values()):
        return None
    theirs = _matches(batch, alone, parts.target)
    if theirs is None or not bool(theirs.any(1).all()):
        return None
    worst: dict[str, Any] | None = None
    for path in parts.inputs:
        own = _matches(batch, alone, path)
        known = own.sum(1) == 1 if own is not None else torch.zeros(n, dtype=torch.bool)
        if own is None or int(known.sum()) < FEWEST:
            continue
        apart = int((~theirs[known, own[known].int().argmax(1)]).sum())
        if not apart:
            return None
        if worst is None or apart > worst["apart"]:
            worst = {"input": path, "target": parts.target, "rows": int(known.sum()), "apart": apart}
    return worst


def _read(sample: Sample, loader: DataLoader[Any], deadline: float) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]] | None:
    """The fields of a batch of some items, and those of each item alone."""
    numbers = sorted({row for rows in sample.rows for row in rows})
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))[:ITEMS].tolist()
    dataset, collate = copied((loader.dataset, loader.collate_fn), "the data set", share=loader.dataset)
    fetch = getattr(dataset, "__getitems__", None)
    items = fetch([numbers[place] for place in order]) if fetch else [dataset[numbers[place]] for place in order]
    if len(items) < FEWEST:
        return None
    alone = []
    for item in items:
        alone.append(dict(fields_of(collate(copy.deepcopy([item])))))
        if time.monotonic() > deadline:
            return None
    return dict(fields_of(collate(copy.deepcopy(items)))), alone


def _is_order(tensor: Tensor, n: int) -> bool:
    """Whether a field numbers the rows of its batch."""
    whole = tensor.shape == (n,) and not tensor.is_floating_point() and tensor.dtype is not torch.bool
    return whole and bool((tensor.sort()[0] == torch.arange(n)).all())


def _matches(batch: dict[str, Tensor], alone: list[dict[str, Tensor]], path: str) -> Tensor | None:
    """Whether each row of a field may be that of each item, shape ``(rows, items)``; ``None`` where it is no field of rows."""
    whole, singles = batch.get(path), [fields.get(path) for fields in alone]
    if whole is None or whole.dim() == 0:
        return None
    if len(whole) != len(alone) and whole.dim() > 1 and whole.shape[1] == len(alone):  # time first
        whole, singles = whole.transpose(0, 1), [t.transpose(0, 1) if t is not None and t.dim() > 1 else None for t in singles]
    if len(whole) != len(alone) or any(t is None or t.dim() != whole.dim() or len(t) != 1 for t in singles):
        return None
    return torch.tensor([[_is(row, one[0]) for one in singles if one is not None] for row in whole])


def _is(row: Tensor, one: Tensor) -> bool:
    """Whether a row is that of an item, followed by padding: one value, or one row of values."""
    if row.dim() == 0 or row.shape[1:] != one.shape[1:] or len(row) < len(one):
        return bool(row.dim() == 0 and torch.equal(row, one))
    rest = row[len(one) :]
    return torch.equal(row[: len(one)], one) and bool((rest == rest[-1:]).all())
