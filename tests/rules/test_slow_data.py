"""Rule T318: waiting for data."""

from __future__ import annotations

from diagnose.rules.slow_data import SlowData
from tests.rules.training import findings, not_run, training


def test_waiting_is_found() -> None:
    (found,) = findings(SlowData(), training(time__data=[0.08] * 12, time__step=[0.1] * 12))
    assert round(found.evidence["share"], 3) == 0.8


def test_computing_is_healthy() -> None:
    assert findings(SlowData(), training(time__data=[0.01] * 12, time__step=[0.1] * 12)) == ()


def test_short_steps_are_healthy() -> None:
    assert findings(SlowData(), training(time__data=[0.0008] * 12, time__step=[0.001] * 12)) == ()


def test_few_records_are_too_short() -> None:
    assert "too short" in not_run(SlowData(), training(time__data=[0.08] * 2, time__step=[0.1] * 2))
