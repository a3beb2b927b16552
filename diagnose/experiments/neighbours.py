"""Whether the targets belong to the rows next to their own: a shift by one between inputs and targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from diagnose.experiments.batches import changed, leaves
from diagnose.experiments.learning import LEARN_STEPS, association, split
from diagnose.experiments.loaders import first_batches
from diagnose.experiments.overfit import RATES, train
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record

NOTHING = 2.5  # standard deviations above chance: what the own targets may reach
CLEAR = 6.0
BATCHES = 16
COLUMNS = 256
PERMUTATIONS = 40


def learn_from_neighbours(sandbox: Sandbox, loader: Any, target_paths: Sequence[str], record: Record) -> None:
    """Where nothing could be learned from each row's own target, try the target of the row before and of the row after it.

    Two orders are tried: that of the rows in a batch, for targets that a collate function shifts, and that of the
    data set, for a shift in there. In a series a neighbour's target is near by nature, so a data set is looked at only where neighbouring
    rows are no more alike than any two, and where no input column is itself the neighbour's target.

    Writes ``probe.neighbours``: ``lag`` (1: a row holds the target of the next row; -1: of the one before), ``order`` (``"data set"`` or
    ``"batch"``), ``held_out`` (how well predictions go with such targets, as in `learn`), ``samples``, ``steps``; the first that is
    clear, else the best.
    """
    best: dict[str, Any] = {}
    for order, batches in _orders(sandbox, loader, target_paths):
        for lag in (1, -1):
            moved = [_moved(batch, target_paths, lag) for batch in batches]
            if order == "data set" and _copies(moved, target_paths, lag):
                continue
            seen, unseen = split(moved)
            if not unseen:
                continue
            fact = _learned(sandbox, seen, unseen)
            if not best or fact["held_out"] > best["held_out"]:
                best = {"lag": lag, "order": order, **fact}
            if best["held_out"] >= CLEAR:
                record.add("probe.neighbours", best)
                return
    if best:
        record.add("probe.neighbours", best)
    else:
        record.skip("probe.neighbours", "neighbouring rows are alike, or there are too few batches")


def _learned(sandbox: Sandbox, seen: Sequence[Any], unseen: Sequence[Any]) -> dict[str, Any]:
    sandbox.reset()
    torch.manual_seed(0)
    done, z, samples = 0, 0.0, 0
    for steps in LEARN_STEPS:
        done += len(train(sandbox, seen, steps - done, RATES[0]))
        z, samples = association(sandbox, unseen)
        if z < NOTHING or z >= CLEAR or done < steps:
            break
    sandbox.reset()
    return {"held_out": z, "samples": samples, "steps": done}


def _orders(sandbox: Sandbox, loader: Any, target_paths: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(loader, DataLoader) and loader.batch_size is not None and isinstance(loader.sampler, RandomSampler):
        yield "batch", sandbox.batches
        straight = DataLoader(loader.dataset, loader.batch_size, collate_fn=loader.collate_fn, drop_last=True)
        batches = first_batches(straight, BATCHES)
    else:
        batches = sandbox.batches
    if not _alike(batches, target_paths):
        yield "data set", batches


def _moved(batch: Any, target_paths: Sequence[str], lag: int) -> Any:
    """The batch with its targets moved back to the rows that they belong to, if each row holds that of the row ``lag`` places on."""
    own = [t for path, t in leaves(batch) if path in target_paths]
    return changed(batch, lambda t: t.roll(lag, 0) if t.dim() and any(t is o for o in own) else t)


def _columns(batches: Sequence[Any], path: str) -> Tensor | None:
    """One field of all batches as standardised columns, shape ``(rows, d)``, at most 256 of them; ``None`` where batches differ."""
    parts = [t for batch in batches for p, t in leaves(batch) if p == path and t.dim() > 0 and t.layout is torch.strided]
    if not parts or len({p.shape[1:] for p in parts}) > 1:
        return None
    values = torch.cat(parts).detach().cpu().flatten(1) if parts[0].dim() > 1 else torch.cat(parts).detach().cpu()[:, None]
    values = values[:, :: max(1, values.shape[1] // COLUMNS)].double()
    values = (values - values.mean(0)) / values.std(0, correction=0).clamp_min(1e-12)
    return values[:, values.square().sum(0) > 0.5]


def _alike(batches: Sequence[Any], target_paths: Sequence[str]) -> bool:
    """Whether rows that follow each other are nearer than any two, by von Neumann's ratio under permutations, in inputs or in targets."""
    paths = [path for path, t in leaves(batches[0]) if t.is_floating_point() or path in target_paths]
    generator = torch.Generator().manual_seed(0)
    for path in paths:
        values = _columns(batches, path)
        if values is None or len(values) < 8 or not values.shape[1]:
            continue
        near = float((values[1:] - values[:-1]).square().mean())
        orders = [torch.randperm(len(values), generator=generator) for _ in range(PERMUTATIONS)]
        by_chance = torch.stack([values[rows].diff(dim=0).square().mean() for rows in orders])
        if near < by_chance.mean() - 4 * by_chance.std():
            return True
    return False


def _copies(batches: Sequence[Any], target_paths: Sequence[str], lag: int) -> bool:
    """Whether an input column is the moved target: of a series of independent numbers the next one, for example."""
    batches = [changed(b, lambda t: t if not t.dim() else t[1:] if lag > 0 else t[:-1]) for b in batches]  # without the row that came round
    targets = [c for path in target_paths if (c := _columns(batches, path)) is not None]
    for path, t in leaves(batches[0]):
        if path in target_paths or not t.is_floating_point():
            continue
        inputs = _columns(batches, path)
        for columns in targets:
            if inputs is not None and len(inputs) == len(columns) and bool(((inputs.T @ columns).abs() / len(columns) > 0.999).any()):
                return True
    return False
