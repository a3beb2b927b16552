"""Which fields of a batch a step listens to: found by giving one field at a time the content of other samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.batches import changed, leaves, roles, size
from diagnose.experiments.dependence import SEED, evaluating
from diagnose.experiments.later_epochs import EPOCHS
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.graph import reached
from diagnose.measure.losses import LossCall
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

FEWEST = 4  # samples whose content has to change, and steps in time from which an end may be padding
FIELDS = 12  # the most that are tried
TURNS = 2  # that each epoch is tried, with other random numbers each time
FILLED = 0.05  # share of the entries before the padding that may be equal to it
SILENT = 1e-6  # as the rule has it: up to here it is asked again who reads the field


def swap_fields(sandbox: Sandbox, record: Record) -> None:
    """Give one input field at a time the content of other samples, and see whether anything that the step computes a loss of changes.

    Where the rows of a field end or begin with padding, what looks like padding stays, and so do rows without any: then only what the
    padding leaves over is exchanged, place by place.

    Writes ``probe.fields``, one entry per input field that differs between samples: ``path``, ``padded``, ``samples`` (whose content was
    exchanged), ``change`` (the largest of all predictions and targets of the step's loss calls in units of their standard deviation, and
    of the loss as a share of it); where nothing changed, nor with other random numbers in later epochs, ``read_by`` and ``until``: the
    first and the last module with trained weights behind the primary prediction whose outputs change, ``None`` where the field is meant
    for something else.
    """
    batch = sandbox.batches[0]
    n = size(batch)
    if n is None or n < FEWEST or sandbox.ready_made or not sandbox.module.automatic_optimization:
        record.skip("probe.fields", "the tensors of the batch share no batch axis, or the module takes its own steps")
        return
    before = _look(sandbox, batch)
    found = roles(batch, before[0].target) if before is not None else {}
    entries = []
    for path, tensor in [(p, t) for p, t in leaves(batch) if found.get(p) == "input" and t.layout is torch.strided and t.dim()][:FIELDS]:
        other, rows, padded = exchanged(tensor)
        if rows < FEWEST:
            continue
        swapped = changed(batch, lambda t, old=tensor, new=other: new if t is old else t)  # type: ignore[misc]
        change = None
        with suppress(Exception):  # fields that contradict each other may raise
            change = _change(before, _look(sandbox, swapped))
        if change is None:
            continue
        entry: dict[str, Any] = {"path": path, "padded": padded, "samples": rows, "change": change}
        if change <= SILENT:
            entry |= {"read_by": None, "until": None}
            if not _heard_otherwise(sandbox, batch, swapped):
                entry |= _readers(sandbox, batch, swapped, padded)
        entries.append(entry)
    record.add("probe.fields", entries)


def exchanged(tensor: Tensor) -> tuple[Tensor, int, bool]:
    """A field with the content of other samples, how many samples have other content than before, and whether padding was left in place.

    >>> exchanged(torch.tensor([[5, 0, 0, 0], [6, 7, 0, 0], [8, 9, 3, 0], [4, 2, 0, 0]]))[0].tolist()
    [[4, 0, 0, 0], [5, 2, 0, 0], [6, 7, 3, 0], [8, 9, 0, 0]]
    """
    filled = padding(tensor)
    if filled is None:
        new = tensor.roll(1, 0)
    else:
        new, some = tensor.clone(), filled.any(1)
        for place in range(tensor.shape[1]):
            rows = (some & ~filled[:, place]).nonzero().flatten()
            new[rows, place] = tensor[rows.roll(1), place]
    other = (new != tensor) & ~((new != new) & (tensor != tensor))  # NaN equals NaN here
    return new, int(other.flatten(1).any(1).sum()) if tensor.dim() > 1 else int(other.sum()), filled is not None


def padding(tensor: Tensor) -> Tensor | None:
    """Which places of sequences of shape ``(n, time)`` or ``(n, time, features)`` hold padding, shape ``(n, time)``; ``None`` without any.

    Padding is one value at the end (or the beginning) of rows, for lengths that differ, which hardly occurs before it.
    """
    if tensor.dim() not in (2, 3) or tensor.shape[1] < FEWEST or not tensor.numel() or tensor.is_complex():
        return None
    for flipped in (False, True):
        rows = tensor.flip(1) if flipped else tensor
        last = rows[:, -1].reshape(len(rows), -1)
        same = rows == (last.mode(0).values if rows.dim() == 3 else last.flatten().mode().values)
        same = same.all(2) if same.dim() == 3 else same
        filled = same.flip(1).long().cumprod(1).flip(1).bool()
        lengths = filled.sum(1)
        kept = ~filled
        if int((lengths > 0).sum()) < FEWEST or lengths.min() == lengths.max() or not kept.any():
            continue
        if float(same[kept].float().mean()) <= FILLED:
            return filled.flip(1) if flipped else filled
    return None


def _look(sandbox: Sandbox, batch: Any, turn: int = 0) -> tuple[LossCall, list[Tensor], Tensor] | None:
    """The primary loss call of a step in eval mode, what all its loss calls compare, and its loss."""
    torch.manual_seed(SEED + turn)
    with evaluating(sandbox.module), watch_losses() as watch:
        loss, _ = sandbox.training_step(sandbox.move(batch), turn)
    call = watch.primary(loss)
    if call is None or loss is None:
        return None
    compared = [t.detach().float() for c in watch.every(loss) for t in (c.input, c.target) if isinstance(t, Tensor)]
    return call, compared, loss.detach().float()


def _change(before: tuple[LossCall, list[Tensor], Tensor] | None, after: tuple[LossCall, list[Tensor], Tensor] | None) -> float | None:
    """The largest change, ``None`` where nothing finite is there to compare."""
    if before is None or after is None:
        return None
    (_, mine, loss), (_, theirs, other) = before, after
    if [t.shape for t in mine] != [t.shape for t in theirs]:
        return float("inf")
    changes = []
    for a, b in zip(mine, theirs, strict=True):
        finite = a.isfinite()
        if not torch.equal(finite, b.isfinite()):
            return float("inf")
        if finite.any():
            scale = float(a[finite].std(correction=0)) or float(a[finite].abs().max()) or 1.0
            changes.append(float((a - b)[finite].abs().max()) / scale)
    if loss.isfinite().all() and loss.shape == other.shape:
        changes.append(float((loss - other).abs().max() / loss.abs().max().clamp_min(1e-12)))
    return max(changes, default=None)


def _heard_otherwise(sandbox: Sandbox, batch: Any, swapped: Any) -> bool:
    """Whether the field matters with other random numbers and in later epochs: what is left out by chance, or weighs nothing at first."""
    progress = sandbox.trainer.fit_loop.epoch_progress.current
    first = progress.completed
    try:
        for turn, progress.completed in enumerate(TURNS * (first, *EPOCHS), 1):
            with suppress(Exception):  # training may never come to that epoch
                change = _change(_look(sandbox, batch, turn), _look(sandbox, swapped, turn))
                if change is not None and change > SILENT:
                    return True
    finally:
        progress.completed = first
    return False


def _readers(sandbox: Sandbox, batch: Any, swapped: Any, padded: bool) -> dict[str, str | None]:
    """The first and the last module whose outputs follow the field, where the field is plainly meant for the primary prediction.

    Modules that follow it and have trained weights stand before the prediction in the graph, all of them: a layer that does not belongs to
    something else, such as another head or a metric. Unless what was exchanged stood beside padding in the same rows, the last layer does
    not follow it: rows of a batch that were joined before the network, and told apart behind it, go through all of its layers.
    """
    nothing: dict[str, str | None] = {"read_by": None, "until": None}
    with _outputs(sandbox.module) as first:
        seen = _look(sandbox, batch)
    with _outputs(sandbox.module) as second:
        _look(sandbox, swapped)
    if seen is None:
        return nothing
    leaves_behind = reached(seen[0].input)[1]
    trained = {
        name: any(id(p) in leaves_behind for p in own)
        for name, module in sandbox.module.named_modules()
        if name in first and (own := [p for p in module.parameters(recurse=False) if p.requires_grad])
    }
    follow = [name for name in trained if _differ(first[name], second.get(name, []))]
    order = [name for name in first if trained.get(name)]
    if not follow or not all(trained[name] for name in follow) or (not padded and order[-1] in follow):
        return nothing
    heard = [name for name in order if name in follow]
    return {"read_by": heard[0] or "forward", "until": heard[-1] or "forward"}


@contextmanager
def _outputs(module: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """The tensors that modules with weights of their own give in a step, by name, in the order of their first call."""
    given: dict[str, list[Tensor]] = {}
    handles = []
    for name, child in module.named_modules():
        if any(not isinstance(p, UninitializedParameter) for p in child.parameters(recurse=False)):

            def see(_: nn.Module, args: Any, result: Any, name: str = name) -> None:
                given.setdefault(name, []).extend(t.detach().clone() for _, t in leaves(result))

            handles.append(child.register_forward_hook(see))
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


def _differ(mine: list[Tensor], theirs: list[Tensor]) -> bool:
    return len(mine) != len(theirs) or any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
