"""Rule T322: metrics that nobody logs."""

from __future__ import annotations

from typing import Any

from diagnose.record import Record
from diagnose.rules.monitor_missing import MonitorMissing
from diagnose.values import Severity
from tests.rules.training import findings, training

STOPPING = {"who": "EarlyStopping", "monitor": "val_loss", "strict": True, "when": "validation"}


def watched(*logged: str, waiting: dict[str, Any] | None = None, **run: Any) -> Record:
    return training(run=run, facts={"monitors": [waiting or STOPPING], "logged": sorted(logged)})


def test_a_name_that_differs_in_punctuation_is_found_before_training() -> None:
    (found,) = findings(MonitorMissing(), watched("val/loss", "val/acc", epochs_done=0, validations_done=0, finished=False))
    assert found.where == "EarlyStopping(monitor='val_loss')"
    assert found.fix == "monitor 'val/loss'"


def test_a_name_that_never_comes_is_found_after_an_epoch() -> None:
    (found,) = findings(MonitorMissing(), watched("train_loss", "accuracy", epochs_done=1, validations_done=1, finished=False))
    assert found.severity == Severity.ERROR


def test_it_is_found_where_lightning_stops_for_it() -> None:
    text = "RuntimeError: Early stopping conditioned on metric `val_loss` which is not available."
    assert len(findings(MonitorMissing(), watched("other", epochs_done=0, validations_done=0, interrupted=text))) == 1


def test_a_validation_that_never_ran_is_named() -> None:
    (found,) = findings(MonitorMissing(), watched("train_loss", validations_done=0))
    assert "no validation was run" in found.message


def test_a_name_that_is_logged_is_healthy() -> None:
    assert findings(MonitorMissing(), watched("val_loss")) == ()


def test_before_the_first_validation_nothing_is_known() -> None:
    assert findings(MonitorMissing(), watched("train_loss", epochs_done=0, validations_done=0, finished=False)) == ()


def test_a_lenient_monitor_is_a_warning_at_the_end() -> None:
    lenient = {**STOPPING, "strict": False}
    assert findings(MonitorMissing(), watched("a", waiting=lenient, finished=False)) == ()
    (found,) = findings(MonitorMissing(), watched("a", waiting=lenient))
    assert found.severity == Severity.WARNING
