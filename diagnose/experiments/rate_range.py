"""The learning-rate range test: training on copies while the rate grows."""

from __future__ import annotations

from dataclasses import asdict
from math import inf, isfinite
from typing import Any

import numpy as np
import torch

from diagnose.experiments.sandbox import Sandbox
from diagnose.experiments.trying import step, tried
from diagnose.measure.rate_range import FEWEST, RateRange, find_rate
from diagnose.namespace import LightningDataModule, LightningModule, Trainer
from diagnose.record import Record

FACT = "probe.lr_range"
BATCHES = 128


def lr_range(
    module: LightningModule,
    train_dataloaders: Any = None,
    *,
    datamodule: LightningDataModule | None = None,
    trainer: Trainer | None = None,
    record: Record | None = None,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    seeds: int = 3,
) -> RateRange:
    """Suggest a learning rate: train copies of the module while the rate grows, and look where their loss falls and where it rises.

    The module, its gradients and modes, the loaders and the random state are left as they were. The module's own optimizer is used; the
    rates of several parameter groups keep their ratio.

    Args:
        module: Any LightningModule with automatic optimisation and one optimizer.
        train_dataloaders: As for ``Trainer.fit``; by default the module's own ``train_dataloader``.
        datamodule: In place of the loaders.
        trainer: The Trainer that will be used: its precision, device and clipping are taken over. It is not run.
        record: Where to keep the curves, as the fact ``probe.lr_range``.
        low: The first rate.
        high: The last.
        steps: Rates in between, one optimizer step each.
        seeds: Sweeps, each with batches in an order of its own, from the same weights.

    Returns:
        The curves and the suggestion; where there is none, ``suggestion`` is ``None`` and ``reason`` says why.

    Raises:
        TypeError: ``module`` is not a LightningModule.
        ValueError: The rates are not 0 < low < high, there are fewer than 20 steps, or no seed.

    References:
        L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
    """
    if not 0 < low < high < inf:
        raise ValueError(f"expected rates 0 < low < high, got low={low!r} and high={high!r}")
    if steps < FEWEST or seeds < 1:
        raise ValueError(f"expected at least {FEWEST} steps and one seed, got steps={steps!r} and seeds={seeds!r}")
    rates = np.geomspace(low, high, steps)
    found: list[RateRange] = []

    def use(sandbox: Sandbox, loader: Any) -> None:
        own = max(float(group.get("max_lr", group.get("initial_lr", group["lr"]))) for group in sandbox.optimizers[0].param_groups)
        found.append(find_rate(rates.tolist(), [sweep(sandbox, rates.tolist(), seed) for seed in range(seeds)], own))

    failure = tried(module, train_dataloaders, use, datamodule=datamodule, trainer=trainer, count=min(BATCHES, steps))
    if record is not None:
        if failure:
            record.skip(FACT, failure)
        else:
            record.add(FACT, asdict(found[0]))
    return RateRange(reason=failure) if failure else found[0]


def sweep(sandbox: Sandbox, rates: list[float], seed: int) -> list[float]:
    """The loss before each step of a training along the rates; infinite from where it diverged."""
    sandbox.reset()
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    groups = sandbox.optimizers[0].param_groups
    before = [float(group["lr"]) for group in groups]
    share = [rate / max(before) if max(before) > 0 else 1.0 for rate in before]
    losses: list[float] = []
    places: list[int] = []
    try:
        for rate in rates:
            places = places or order.permutation(len(sandbox.batches)).tolist()
            for group, part in zip(groups, share, strict=True):
                group["lr"] = rate * part
            index = places.pop()
            losses.append(step(sandbox, sandbox.batches[index], index))
            if diverged(losses):
                losses[-1] = inf
                break
    finally:
        for group, own in zip(groups, before, strict=True):
            group["lr"] = own
        sandbox.reset()
    return losses + [inf] * (len(rates) - len(losses))


def diverged(losses: list[float]) -> bool:
    """Whether the last loss is not finite, or stands far above all that the beginning spanned."""
    if not isfinite(losses[-1]):
        return True
    first = float(np.mean(losses[:10]))
    return len(losses) > 10 and losses[-1] - min(losses) > 20 * (first - min(losses)) + abs(first)
