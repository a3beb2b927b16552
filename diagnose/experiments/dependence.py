"""What the output of a step depends on: found by changing part of the input and looking at what changes in the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from diagnose.experiments.batches import changed, has_unknown, leaves, roles, same, take
from diagnose.experiments.fading import fading
from diagnose.experiments.mixing import mixes
from diagnose.experiments.ragged import choose, count
from diagnose.experiments.sandbox import Sandbox
from diagnose.measure.losses import LossCall
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

SEED = 20
Run = Callable[..., tuple[LossCall | None, Tensor | None]]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[list[str]]:
    """Every submodule in eval mode; their own modes come back afterwards.

    Yields a list that gets an entry whenever a batch norm runs in train mode all the same, since the step itself switched it back.
    """
    modes = {m: m.training for m in module.modules()}
    switched: list[str] = []

    def look(m: nn.Module, args: Any) -> None:
        if m.training:
            switched.append(type(m).__name__)

    handles = [m.register_forward_pre_hook(look) for m in modes if isinstance(m, _BatchNorm)]
    try:
        module.eval()
        yield switched
    finally:
        for handle in handles:
            handle.remove()
        for m, mode in modes.items():
            m.training = mode


def output(sandbox: Sandbox, batch: Any, *, seed: int = SEED) -> tuple[LossCall | None, Tensor | None]:
    """The primary loss call and the loss of a training step in eval mode, with the random state seeded; the weights stay."""
    torch.manual_seed(seed)
    with evaluating(sandbox.module), watch_losses() as watch:
        loss, _ = sandbox.training_step(sandbox.move(batch))
    if not sandbox.module.automatic_optimization:
        sandbox.reset()
    return watch.primary(loss), loss


def validation_output(sandbox: Sandbox, batch: Any, *, seed: int = SEED) -> tuple[LossCall | None, Tensor | None]:
    """The same for a validation step, whose loss is that of the primary call."""
    torch.manual_seed(seed)
    with evaluating(sandbox.module), watch_losses() as watch, torch.no_grad():
        sandbox.validation_step(sandbox.move(batch))
    call = watch.primary()
    return call, call.value if call is not None else None


def per_sample(call: LossCall, batch: Any) -> Tensor | None:
    """The call's input with one row per sample, shape ``(n, k)``.

    ``None`` where the rows cannot be told: the targets of the call must be found among the tensors of the batch, in the same order, or
    be one of them shifted by up to three steps.
    """
    n = count(batch, crossed=True)
    if n is None or n < 4 or call.target is None or call.input.dim() == 0 or call.input.shape[0] % n:
        return None
    target = call.target.argmax(-1) if _one_hot(call.target) else call.target
    for _, leaf in leaves(batch):
        shifted = [leaf[:, k:] for k in range(1, 4)] if leaf.dim() > 1 and leaf.shape[1] > 4 else []
        if leaf.dim() > 0 and len(leaf) == n and any(same(t, c) for t in (target, call.target) for c in (leaf, *shifted)):
            return call.input.detach().float().reshape(n, -1)
    return None


def _one_hot(target: Tensor) -> bool:
    return target.dim() > 1 and target.shape[-1] > 1 and bool(((target == 0) | (target == 1)).all()) and bool((target.sum(-1) == 1).all())


def swap_samples(sandbox: Sandbox, record: Record) -> None:
    """Replace every second sample of a batch by a copy of another and see which outputs change.

    Copies rather than a permutation: a mean over the batch, or an attention over it, does not see an order. Where the module has validation
    batches and its ``validation_step`` shows its targets, that step is asked, since ``training_step`` may mix samples on purpose (mixup).

    Writes ``probe.dependence``: ``kept`` (largest change of an output whose own sample stayed, in units of the outputs' standard
    deviation), ``swapped`` (the same for outputs whose sample was replaced), ``noise`` (largest change between two equal runs),
    ``samples``; where the replaced ones did not change, ``mixed_by`` (see `mixes`), and where no output changed at all, ``unheard`` (see
    the function of this name). And ``probe.fading``, where the replaced ones did not change: see `fading`.
    """
    batch, run = _step_for_swapping(sandbox)
    n = count(batch, crossed=True)
    if n is None or n < 4:
        record.skip("probe.dependence", "the tensors of the batch share no batch axis")
        return
    if sandbox.ready_made:
        record.skip("probe.dependence", "the data set gives whole batches (batch_size=None): their first axis need not be samples")
        return
    if any(t.shape == (n, n) for _, t in leaves(batch)):  # relations between the samples, such as an adjacency: then a smaller one fails
        n -= 1
        batch = choose(batch, torch.arange(n))
    if any(isinstance(m, _BatchNorm) and m.running_mean is None for m in sandbox.module.modules()):
        record.skip("probe.dependence", "a batch norm without running statistics mixes the samples by design")
        return
    with evaluating(sandbox.module) as switched:
        run(sandbox, batch)
    if switched:
        record.skip("probe.dependence", "the step itself switches its batch norms to train mode, where they mix the samples by design")
        return
    odd = torch.arange(1, n, 2)
    rows = torch.arange(n)
    rows[odd] = torch.arange(0, n, 2).roll(1)[: len(odd)]
    before, again, after = (run(sandbox, b)[0] for b in (batch, batch, choose(batch, rows)))
    first = per_sample(before, batch) if before is not None else None
    if first is None or after is None or again is None or after.input.shape != before.input.shape:  # type: ignore[union-attr]
        record.skip("probe.dependence", "the targets of the loss were not found in the batch, so outputs cannot be matched with samples")
        return
    second, repeated = (c.input.detach().float().reshape(first.shape) for c in (after, again))
    even = torch.arange(0, n, 2)
    scale = float(first.std()) or float(first.abs().max()) or 1.0
    found = roles(batch, before.target)  # type: ignore[union-attr]
    pairs = zip(leaves(batch), leaves(choose(batch, rows)), strict=True)
    inputs_differ = any(found[path] == "input" and not torch.equal(t, other) for (path, t), (_, other) in pairs)
    kept, swapped = (float((first - second)[half].abs().max()) / scale for half in (even, odd))
    reason = ""
    if not inputs_differ:
        reason = "no tensor of the batch but the target differs between samples"
    elif not torch.isfinite(first - second).all():
        reason = "the outputs are not finite"
    elif swapped == 0 and not sandbox.module.automatic_optimization:
        reason = "all outputs are equal, as where a last layer starts at zero, and the module takes its own steps, so none were taken first"
    elif swapped == 0 and len(found) == 1 and _draws_outputs(sandbox, batch, first, run):
        reason = "the outputs are drawn, and the batch holds nothing but what they are held against: the step generates samples"
    elif swapped == 0 and has_unknown(batch):
        reason = "the batch holds objects of its own kind, which could not be replaced"
    elif kept > 1e-4 and (_mixes(sandbox, batch) or _uses_labels(sandbox, batch, rows, found, run)):
        reason = "the step mixes samples on purpose: it compares one output with several targets, or gives the targets to the network"
    elif kept > 1e-4 and _draws_partners(sandbox, batch, rows, run):
        reason = "the step mixes samples on purpose: chance decides which ones, as in mixup"
    if reason:
        record.skip("probe.dependence", reason)
        return
    noise = float((first - repeated).abs().max()) / scale
    record.add("probe.dependence", {"kept": kept, "swapped": swapped, "noise": noise, "samples": n})
    if swapped <= 1e-6:
        mixed_by = mixes(sandbox.module, lambda b: run(sandbox, b), batch, choose(batch, rows), even, n)
        record.add("probe.dependence", {**record.facts["probe.dependence"], "mixed_by": mixed_by})
        record.add("probe.fading", fading(sandbox.module, lambda b: run(sandbox, b), batch, choose(batch, rows)))
    if swapped == 0:
        record.add("probe.dependence", {**record.facts["probe.dependence"], "unheard": unheard(sandbox, batch, run, first, record)})


def unheard(sandbox: Sandbox, batch: Any, run: Run, outputs: Tensor, record: Record) -> list[str]:
    """Names of the parameters that run but get no gradient, where the outputs stay the same, bit by bit, when all of them are drawn anew.

    Then nothing that they compute reaches the outputs; where the outputs change, only the gradient is cut.
    """
    entries = record.facts.get("probe.parameters", {}).get("registered", ())
    names = {e["name"] for e in entries if e["used"] and not e["reached"]}
    kept = {p: p.detach().clone() for n, p in sandbox.module.named_parameters() if n in names and p.is_floating_point()}
    if not kept:
        return []
    generator = torch.Generator().manual_seed(SEED)
    try:
        with torch.no_grad():
            for parameter in kept:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        call = run(sandbox, batch)[0]
    finally:
        with torch.no_grad():
            for parameter, values in kept.items():
                parameter.copy_(values)
    stays = call is not None and torch.equal(call.input.detach().float().reshape(outputs.shape), outputs)
    return sorted(names) if stays else []


def _mixes(sandbox: Sandbox, batch: Any) -> bool:
    """Whether the step holds one output against several targets, as mixup does."""
    with evaluating(sandbox.module), watch_losses() as watch:
        loss, _ = sandbox.training_step(sandbox.move(batch))
    if not sandbox.module.automatic_optimization:
        sandbox.reset()
    pairs = [(c.input, c.target) for c in watch.every(loss) if c.target is not None]
    return any(a is b and not same(s, t) for (a, s), (b, t) in combinations(pairs, 2))


def _draws_partners(sandbox: Sandbox, batch: Any, rows: Tensor, run: Run) -> bool:
    """Whether other outputs change with another seed: a leak joins the same samples each time, mixup draws new partners."""
    affected = []
    for seed in (SEED, SEED + 1):
        calls = [run(sandbox, b, seed=seed)[0] for b in (batch, choose(batch, rows))]
        before, after = (c.input.detach().reshape(len(rows), -1)[::2] if c is not None else None for c in calls)
        if before is None or after is None:
            return False
        affected.append((before != after).any(1))
    return not torch.equal(*affected)


def _draws_outputs(sandbox: Sandbox, batch: Any, outputs: Tensor, run: Run) -> bool:
    """Whether other random numbers give other outputs."""
    call = run(sandbox, batch, seed=SEED + 1)[0]
    return call is not None and not torch.equal(call.input.detach().float().reshape(outputs.shape), outputs)


def _uses_labels(sandbox: Sandbox, batch: Any, rows: Tensor, found: Mapping[str, str], run: Run) -> bool:
    """Whether outputs change with the targets of other samples, as in few-shot learning, where a batch is one task."""
    targets = [t for path, t in leaves(batch) if found[path] == "target"]
    other = changed(batch, lambda t: take(t, rows) if any(t is own for own in targets) else t)
    before, after = (
        c.input.detach().reshape(len(rows), -1)[::2] if (c := run(sandbox, b)[0]) is not None else None for b in (batch, other)
    )
    return before is not None and after is not None and not torch.equal(before, after)


def _step_for_swapping(sandbox: Sandbox) -> tuple[Any, Run]:
    for batch in sandbox.held_out[:1]:
        try:
            call, _ = validation_output(sandbox, batch)
        except Exception:  # a validation step may need what only a fit sets up; the training step is asked then
            break
        if call is not None and per_sample(call, batch) is not None:
            return batch, validation_output
    return sandbox.batches[0], output
