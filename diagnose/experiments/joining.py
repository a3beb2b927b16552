"""Graphs put together to a batch: whether the numbers in the pairs of nodes are those of the batch, or still those of each graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.batches import leaves
from diagnose.record import Record

FEWEST = 4  # graphs in a batch


def pairs_named(batches: Sequence[Any], record: Record) -> None:
    """Look for pairs of nodes that name no more nodes than the largest sample has, in each batch that holds pairs.

    Writes ``probe.joined`` where there are: ``path`` (of the pairs), and of the batch that has the most nodes for its largest sample
    ``pairs``, ``named`` (one more than the highest number in them), ``samples``, ``parts`` (nodes) and ``largest`` (nodes of the largest
    sample); and ``batches``, in how many it is so.
    """
    found = [entry for batch in batches for entry in _pairs(batch)]
    if not found or any(facts["named"] > facts["largest"] for facts, _ in found):
        return
    tables = [pairs for _, pairs in found]
    if all(torch.equal(a, b) for a, b in pairwise(tables)) and len(torch.unique(tables[0], dim=1).T) == tables[0].shape[1]:
        return  # one graph that all samples share
    facts = max((facts for facts, _ in found), key=lambda facts: facts["parts"] / facts["largest"])
    record.add("probe.joined", {**facts, "batches": len(found)})


def _pairs(batch: Any) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """Of each tensor of pairs of nodes what `pairs_named` writes, and the pairs, shape ``(2, pairs)``."""
    tensors = [(path, t) for path, t in leaves(batch) if t.layout is torch.strided and t.dim() > 0]
    counts = next((c for _, t in tensors for c in [_counts(t, tensors)] if c is not None), None)
    if counts is None:
        return
    parts = int(counts.sum())
    for path, tensor in tensors:
        pairs = tensor if len(tensor) == 2 else tensor.T if tensor.dim() == 2 and len(tensor) not in (parts, len(counts)) else None
        if pairs is None or pairs.dim() != 2 or len(pairs) != 2 or not _whole(pairs) or not pairs.numel() or int(pairs.min()) < 0:
            continue
        if any(_tells(t, pairs.shape[1], parts, len(counts)) for _, t in tensors):
            continue  # then the module may shift the numbers itself
        facts = {"path": path, "pairs": pairs.shape[1], "named": int(pairs.max()) + 1}
        yield {**facts, "samples": len(counts), "parts": parts, "largest": int(counts.max())}, pairs.cpu()


def _counts(tensor: Tensor, tensors: list[tuple[str, Tensor]]) -> Tensor | None:
    """How many parts each sample has: told by their number, by the sample of each, or by where each sample begins and the last ends."""
    if tensor.dim() != 1 or not _whole(tensor) or len(tensor) < FEWEST or int(tensor.min()) < 0:
        return None
    lengths, steps = {len(t) for _, t in tensors}, tensor.diff()
    if int(tensor.min()) > 0:
        return tensor.cpu() if int(tensor.sum()) in lengths else None
    if int(tensor[0]) != 0 or int(steps.min()) < 0:
        return None
    if int(steps.max()) <= 1:
        counts = torch.bincount(tensor.cpu())
        return counts if FEWEST <= len(counts) < len(tensor) else None
    return steps.cpu() if len(steps) >= FEWEST and int(tensor[-1]) in lengths else None


def _tells(tensor: Tensor, pairs: int, parts: int, samples: int) -> bool:
    """Whether a tensor tells to which sample each pair belongs: its number, how many pairs each sample has, or where its pairs begin."""
    if tensor.dim() != 1 or not _whole(tensor):
        return False
    if len(tensor) == pairs != parts:
        return bool((tensor.diff() >= 0).all()) and samples // 2 <= int(tensor.max()) < samples
    return len(tensor) in (samples, samples + 1) and pairs in (int(tensor.sum()), int(tensor[-1]))


def _whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)
