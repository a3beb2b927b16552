"""What a copy learns from a few batches, held against others that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagnose.experiments.batches import changed, leaves, take
from diagnose.experiments.dependence import evaluating
from diagnose.experiments.overfit import RATES, train
from diagnose.experiments.sandbox import Sandbox, random_state_kept
from diagnose.measure.losses import Predictions, predictions
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

LEARN_STEPS = (120, 400)
PASSES = (1, 2, 4)  # over the batches, after which it is looked at first
NAMES = 3  # whole numbers of a sample that may name things, such as user, item and tag


def learn(sandbox: Sandbox, target_paths: Sequence[str], record: Record) -> None:
    """Train a copy on some batches and look whether its predictions go with the targets of batches it has not seen.

    The measure is a permutation test: the mean score of the true target, in standard deviations of its distribution over shuffled targets.

    Writes ``probe.learning``: ``train`` and ``held_out`` (that number on the batches trained on and on the others), ``early`` (the best of
    looks at the others after a few passes), ``samples`` (held out), ``steps``, ``losses``, and, where the held-out number is not clear,
    ``real`` and ``shuffled`` (final training losses with the labels as they are and with the labels shuffled over the samples) and
    ``lead`` (see the function).
    """
    batches = sandbox.batches
    if not sandbox.module.automatic_optimization or not target_paths:
        why = (
            "manual optimisation: the module takes its own steps" if target_paths else "the targets of the loss were not found in the batch"
        )
        record.skip("probe.learning", why)
        return
    inputs = [t for path, t in leaves(batches[0]) if path not in target_paths]
    if inputs and all(not t.is_floating_point() and (t.dim() < 2 or t[0].numel() <= NAMES) for t in inputs):
        record.skip("probe.learning", "the inputs are numbers of things (users, items): a few steps say nothing about those not seen")
        return
    seen, unseen = split(batches)
    if not unseen:
        record.skip("probe.learning", f"too little data: {len(batches)} batches")
        return
    sandbox.reset()
    torch.manual_seed(0)
    losses: list[float] = []
    early: list[float] = []
    fact: dict[str, Any] = {}

    steps_done = count(1)

    def look(_: float) -> bool:
        if next(steps_done) in {passes * len(seen) for passes in PASSES}:
            with random_state_kept():
                early.append(association(sandbox, unseen)[0])
        return False

    for steps in LEARN_STEPS:
        losses += train(sandbox, seen, steps - len(losses), RATES[0], look)
        train_z, _ = association(sandbox, seen[:8])
        held_z, samples = association(sandbox, unseen)
        fact = {"train": train_z, "held_out": held_z, "early": max(early, default=0.0), "samples": samples, "steps": len(losses)}
        fact["losses"] = losses
        if not samples:
            record.skip("probe.learning", "the loss names no predictions that could be held against its targets")
            return
        if held_z > 4 or len(losses) < steps or samples < 60:
            break
    if losses and len(losses) < LEARN_STEPS[0]:
        record.skip("probe.learning", f"the loss was not finite after {len(losses)} steps")
        return
    if fact["held_out"] <= 4:
        sandbox.reset()
        torch.manual_seed(0)
        shuffled = train(sandbox, [_shuffled(b, target_paths, i) for i, b in enumerate(seen)], len(losses), RATES[0])
        tail = max(1, len(seen))
        fact |= {
            "real": float(np.mean(losses[-tail:])) if losses else np.nan,
            "shuffled": float(np.mean(shuffled[-tail:])) if shuffled else np.nan,
            "lead": lead(losses, shuffled) if losses and len(losses) == len(shuffled) else np.nan,
        }
    record.add("probe.learning", fact)


def lead(real: Sequence[float], shuffled: Sequence[float]) -> float:
    """By how much the first losses lie below the second over a whole training, as a share of the area under the second.

    Where both end at nearly nothing, one may end at a hundredth of the other by chance; how soon they fall is alike. Losses above where the
    second lies in half of the first half count as that, so that a fall from far away, which both have, does not outweigh the rest.

    >>> [round(lead(curve, [1.0] * 5 + [0.1] * 5), 2) for curve in ([1.0] * 5 + [0.001] * 5, [1.0] + [0.1] * 9)]
    [0.09, 0.65]
    """
    level = float(np.median(shuffled[: max(1, len(shuffled) // 2)]))
    low = min(0.0, *real, *shuffled)
    mine, theirs = (float(np.minimum(losses, level).mean()) - low for losses in (real, shuffled))
    return float(1 - mine / theirs) if theirs > 0 else 1.0


def split(batches: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Seven of ten batches to train on, and the others."""
    cut = max(1, int(len(batches) * 0.7))
    return batches[:cut], batches[cut:]


def _shuffled(batch: Any, target_paths: Sequence[str], seed: int) -> Any:
    """The batch with the rows of its targets permuted."""
    fields = dict(leaves(batch))
    rows = torch.randperm(len(fields[target_paths[0]]), generator=torch.Generator().manual_seed(seed))
    own = [fields[p] for p in target_paths]
    return changed(batch, lambda t: take(t, rows) if any(t is f for f in own) else t)


def association(sandbox: Sandbox, batches: Sequence[Any]) -> tuple[float, int]:
    """How well predictions go with targets: standard deviations above shuffled targets, and the number of scored samples."""
    scored: list[Predictions] = []
    with evaluating(sandbox.module):
        for batch in batches:
            with watch_losses() as watch:
                loss, _ = sandbox.training_step(sandbox.move(batch))
            call = watch.primary(loss)
            result = predictions(call) if call is not None else None
            if result is not None and len(result.target):
                scored.append(result)
    if not scored:
        return 0.0, 0
    score = torch.cat([_scores(p) for p in scored]).double().numpy()
    target = torch.cat([_one_column(p) for p in scored]).double().numpy()
    n = len(score)
    if n > 4000:
        keep = np.random.default_rng(0).choice(n, 4000, replace=False)
        score, target, n = score[keep], target[keep], 4000
    score, target = score - score.mean(0), target - target.mean(0)
    spread = float(np.sqrt(((score.T @ score) * (target.T @ target)).sum().clip(0) / max(1, n - 1)))  # over all permutations of the rows
    return (float((score * target).sum()) / spread if spread > 1e-12 else 0.0), n


def _scores(p: Predictions) -> Tensor:
    if p.probability is None and p.classes and p.task != "multilabel":
        return torch.nn.functional.one_hot(p.prediction.long(), p.classes).float().cpu()
    values = p.probability if p.probability is not None else p.prediction.float()
    return values.reshape(len(values), -1).float().cpu()


def _one_column(p: Predictions) -> Tensor:
    if p.classes and p.task != "multilabel":
        return torch.nn.functional.one_hot(p.target.long(), p.classes).float().cpu()
    return p.target.float().reshape(len(p.target), -1).cpu()
