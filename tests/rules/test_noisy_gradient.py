"""Rule T324: gradients without a common direction."""

from __future__ import annotations

import numpy as np

from diagnose.rules.noisy_gradient import NoisyGradient
from diagnose.values import Severity
from tests.rules.training import findings, not_run, training


def test_unrelated_gradients_are_found() -> None:
    (found,) = findings(NoisyGradient(), training(gradient__similarity=0.03 * np.random.default_rng(0).standard_normal(19)))
    assert found.severity == Severity.INFO


def test_related_gradients_are_healthy() -> None:
    assert findings(NoisyGradient(), training(gradient__similarity=[0.3, 0.5, 0.2, 0.4] * 4)) == ()


def test_a_mean_that_could_be_anything_is_no_finding() -> None:
    assert findings(NoisyGradient(), training(gradient__similarity=[0.6, -0.65] * 8)) == ()


def test_few_pairs_are_too_short() -> None:
    assert "too short" in not_run(NoisyGradient(), training(gradient__similarity=[0.0] * 4))
