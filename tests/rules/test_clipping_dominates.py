"""Rule T316: a threshold that sets every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules.clipping_dominates import ClippingDominates
from diagnose.values import Severity
from tests.rules.training import findings, not_run, training


def test_a_threshold_far_below_the_norm_is_found() -> None:
    (found,) = findings(ClippingDominates(), training(clip__ratio=[0.001] * 30, grad_norm__total=[10.0] * 30))
    assert "10" in found.fix


def test_mild_clipping_is_healthy() -> None:
    assert findings(ClippingDominates(), training(clip__ratio=[0.3] * 30, grad_norm__total=[3.0] * 30)) == ()


def test_clipping_of_peaks_is_healthy() -> None:
    assert findings(ClippingDominates(), training(clip__ratio=[0.001, 1.0] * 15, grad_norm__total=[3.0] * 30)) == ()


def test_few_steps_are_too_short() -> None:
    assert "too short" in not_run(ClippingDominates(), training(clip__ratio=[0.001] * 3))


@pytest.mark.parametrize(
    ("optimizer", "ratio", "severity"), [("Adam", 1e-3, Severity.INFO), ("Adam", 1e-8, Severity.WARNING), ("SGD", 1e-3, Severity.WARNING)]
)
def test_adam_minds_only_gradients_that_are_cut_to_nothing(optimizer: str, ratio: float, severity: Severity) -> None:
    facts = {"optimizers": [optimizer], "probe.parameters": {"registered": [{"size": 10_000}]}}
    (found,) = findings(ClippingDominates(), training(facts=facts, clip__ratio=[ratio] * 30, grad_norm__total=[1.0] * 30))
    assert found.severity is severity


def by_hand(ratio: float, *, left: float = 0.0, bound: float = 0.0, loss: float = 1.0, watched: float = 1.0, rows: int = 30) -> Record:
    """A record of gradients that the user's own code shortens; ``left`` is how far the norms that it leaves lie apart."""
    series: dict[str, Any] = {"clip__by_hand": [ratio] * rows, "clip__left": np.linspace(1, 1 + left, rows), "clip__bound": [bound] * rows}
    return training([loss] * 300, train__watched_loss=[watched] * 30, **series)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (by_hand(0.01, left=0.05), 1),  # to one norm
        (by_hand(0.01, left=2.0, bound=0.6), 1),  # entry by entry
        (by_hand(0.01, left=2.0, bound=0.4), 0),  # a factor: gradients as long as ever, one to the other
        (by_hand(0.1, left=0.05, bound=0.6), 0),
        (by_hand(0.01, left=0.05, loss=64.0), 0),  # what the loss was multiplied by
        (by_hand(0.001, left=0.05, loss=32.0), 1),
    ],
)
def test_a_limit_that_is_set_by_hand(record: Record, found: int) -> None:
    assert len(findings(ClippingDominates(), record)) == found


def test_a_limit_by_hand_is_described() -> None:
    (one,) = findings(ClippingDominates(), by_hand(0.01))
    assert one.message.endswith("to 1.0% of a norm of 100; its norm is 1 in nearly all of them")
    (other,) = findings(ClippingDominates(), by_hand(0.01, left=2.0, bound=0.75))
    assert other.message.endswith("75% of its entries are as large as the largest")
    assert "too short" in not_run(ClippingDominates(), by_hand(0.01, rows=5))


def test_gradients_of_a_loss_that_nobody_watched_are_not_judged() -> None:
    series: dict[str, Any] = {"clip__by_hand": [0.01] * 30, "clip__left": [1.0] * 30, "clip__bound": [1.0] * 30}
    assert findings(ClippingDominates(), training([1.0] * 300, **series)) == ()
    manual = training([1.0] * 300, run={"automatic_optimization": False}, backward__share=[1024.0] * 30, **series)
    assert findings(ClippingDominates(), manual) == ()
