"""Rule T316: a threshold that sets every step."""

from __future__ import annotations

import pytest

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
