"""Records of trainings that never ran, for the tests of the rules T301 to T325."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules import run as outcome_of
from diagnose.values import Finding, Outcome

RUN: dict[str, Any] = {
    "max_epochs": 10,
    "max_steps": None,
    "batches_per_epoch": 30,
    "validates": True,
    "accumulate": 1,
    "automatic_optimization": True,
    "epochs_done": 10,
    "validations_done": 10,
    "steps_done": 300,
    "finished": True,
    "stopped": "",
    "interrupted": "",
    "optimizers": [{"name": "SGD", "lr": 0.1, "weight_decay": 0.0, "decoupled": False}],
    "schedulers": [],
}


def falling(start: float, end: float, rows: int = 300, noise: float = 0.05, seed: int = 0) -> list[float]:
    """Losses that fall as trainings do, with noise in proportion."""
    rng = np.random.default_rng(seed)
    level = end + (start - end) * np.exp(-5 * np.linspace(0, 1, rows))
    return [float(v) for v in level * (1 + noise * rng.standard_normal(rows))]


def training(
    loss: ArrayLike = (),
    *,
    run: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    epoch_length: int = 30,
    **series: ArrayLike,
) -> Record:
    """A record with these training losses, one per batch.

    Args:
        loss: Losses of all batches.
        run: Changes to the fact ``run`` of an ordinary run of ten epochs.
        facts: Further facts.
        labels: Columns of the vector series, by the name below.
        epoch_length: Batches per epoch.
        series: Further series, their names with ``__`` for ``/``; their rows are spread evenly over the batches.
    """
    record = Record()
    record.add("run", {**RUN, **(run or {})})
    for name, fact in (facts or {}).items():
        record.add(name, fact)
    losses = np.asarray(loss, dtype=float)
    for batch, value in enumerate(losses):
        record.append({"train/loss": float(value)}, step=batch, epoch=batch // epoch_length, batch=batch)
    for key, values in series.items():
        name = key.replace("__", "/")
        if labels and key in labels:
            record.label(name, labels[key])
        rows = np.asarray(values, dtype=float)
        length = max(len(losses), len(rows))
        for place, row in zip(np.linspace(0, length - 1, len(rows)).astype(int), rows, strict=True):
            value = [float(v) for v in row] if rows.ndim > 1 else float(row)
            record.append({name: value}, step=int(place), epoch=int(place) // epoch_length, batch=int(place))
    return record


def findings(rule: Rule, record: Record) -> tuple[Finding, ...]:
    """What a rule finds; the test fails where it did not run."""
    outcome = outcome_of(rule, record, strict=True)
    assert outcome.status != "not-run", outcome.reason
    return outcome.findings


def not_run(rule: Rule, record: Record) -> str:
    """Why a rule did not run; the test fails where it did."""
    outcome: Outcome = outcome_of(rule, record, strict=True)
    assert outcome.status == "not-run", outcome.findings
    return outcome.reason
