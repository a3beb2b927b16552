"""Rule T321: validation far better than training."""

from __future__ import annotations

from diagnose.rules.suspicious_validation import SuspiciousValidation
from tests.rules.training import findings, not_run, training


def test_validation_that_is_far_too_easy_is_found() -> None:
    record = training([1.0] * 300, val__loss=[0.05] * 10, train__accuracy=[0.6] * 30, val__accuracy=[0.99] * 10)
    (found,) = findings(SuspiciousValidation(), record)
    assert found.evidence["ratio"] == 0.05


def test_dropout_in_training_is_healthy() -> None:
    record = training([1.0] * 300, val__loss=[0.6] * 10, train__accuracy=[0.6] * 30, val__accuracy=[0.8] * 10)
    assert findings(SuspiciousValidation(), record) == ()


def test_the_same_loss_call_is_compared() -> None:
    assert findings(SuspiciousValidation(), training([1.0] * 300, train__watched_loss=[0.06] * 30, val__loss=[0.05] * 10)) == ()


def test_two_validations_are_too_short() -> None:
    assert "too short" in not_run(SuspiciousValidation(), training([1.0] * 60, val__loss=[0.1] * 2))
