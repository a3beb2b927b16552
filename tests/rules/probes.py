"""Records of probes that never ran, for the tests of the rules M201 to M219 and D110."""

from __future__ import annotations

from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules import run as outcome_of
from diagnose.values import Finding, Outcome, Status

SOURCE = {"training_step": "model.py:31", "forward": "model.py:20", "configure_optimizers": "model.py:50"}
NO_ACTIVATION = {"name": "", "axis": -1, "shape": [], "scaled": False}

STEP: dict[str, Any] = {
    "loss": [2.3, 2.31, 2.29],
    "calls": 1,
    "kind": "cross_entropy",
    "head": [],
    "input": {"min": -1.2, "max": 1.4, "std": 0.5, "probabilities": False, "log_probabilities": False},
    "input_shape": [32, 10],
    "target_shape": [32],
    "target_dtype": "int64",
    "classes": 10,
    "reduction": "mean",
    "labels": {"count": 768, "distinct": 10, "min": 0, "max": 9},
    "target": {},
    "broadcast": None,
    "dropout_on_output": 0.0,
    "raised": "",
}


def step(**changes: Any) -> dict[str, Any]:
    """What a step of a healthy classifier of ten classes showed, with changes."""
    return {**STEP, **changes}


def activation(name: str, **changes: Any) -> dict[str, Any]:
    """An activation next to the loss."""
    return {**NO_ACTIVATION, "name": name, **changes}


def outcome(rule: Rule, facts: dict[str, Any], *, source: bool = True) -> Outcome:
    record = Record()
    if source:
        record.add("source", SOURCE)
    for name, value in facts.items():
        record.add(name, value)
    return outcome_of(rule, record, strict=True)


def findings(rule: Rule, **facts: Any) -> list[Finding]:
    """The findings on facts whose names have a dot where these have two underscores; the rule must have run."""
    done = outcome(rule, {name.replace("__", "."): value for name, value in facts.items()})
    assert done.status in (Status.FOUND, Status.CLEAN), done.reason
    return list(done.findings)


def not_run(rule: Rule, **facts: Any) -> str:
    """Why the rule did not run."""
    done = outcome(rule, {name.replace("__", "."): value for name, value in facts.items()})
    assert done.status is Status.NOT_RUN
    return done.reason
