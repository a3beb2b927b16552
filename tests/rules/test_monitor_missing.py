"""Rule T322: metrics that nobody logs."""

from __future__ import annotations

from typing import Any

import pytest

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


BEFORE: dict[str, Any] = {"epochs_done": 0, "validations_done": 0, "finished": False, "validates": True}


def planned(*names: str, elsewhere: tuple[str, ...] = (), waiting: dict[str, Any] | None = None, **run: Any) -> Record:
    record = training(run={**BEFORE, **run}, facts={"monitors": [waiting or STOPPING]})
    record.add("probe.logged", {"names": dict.fromkeys(names, "validation"), "elsewhere": list(elsewhere)})
    return record


def test_a_name_that_no_step_logs_is_found_before_training() -> None:
    (found,) = findings(MonitorMissing(), planned("val_accuracy", "train_loss"))
    assert found.message == "EarlyStopping monitors 'val_loss', which is not logged; logged are train_loss, val_accuracy"


def test_hooks_that_may_log_more_and_a_missing_validation_leave_it_open() -> None:
    assert findings(MonitorMissing(), planned("val_accuracy", elsewhere=("on_validation_epoch_end",))) == ()
    assert findings(MonitorMissing(), planned("train_loss", validates=False)) == ()


@pytest.mark.parametrize("name", ["val_loss", "val_loss/dataloader_idx_0", "val_loss_epoch"])
def test_names_that_lightning_extends_are_logged(name: str) -> None:
    assert findings(MonitorMissing(), planned("val_loss", waiting={**STOPPING, "monitor": name})) == ()


@pytest.mark.parametrize(
    ("name", "mode", "wanted"),
    [("val_acc", "min", "max"), ("val/F1", "min", "max"), ("val_loss", "max", "min"), ("dice_loss", "max", "min")],
)
def test_the_wrong_direction(name: str, mode: str, wanted: str) -> None:
    (found,) = findings(MonitorMissing(), planned(name, waiting={**STOPPING, "monitor": name, "mode": mode}))
    assert (found.severity, found.fix) == (Severity.WARNING, f"give it mode={wanted!r}")
    assert found.where == f"EarlyStopping(monitor={name!r}, mode={mode!r})"
    assert findings(MonitorMissing(), planned(name, waiting={**STOPPING, "monitor": name, "mode": wanted})) == ()


def test_names_that_say_nothing_have_no_direction() -> None:
    for mode in ("min", "max"):
        assert findings(MonitorMissing(), planned("elbo", waiting={**STOPPING, "monitor": "elbo", "mode": mode})) == ()


def test_patience() -> None:
    patient = {**STOPPING, "mode": "min", "patience": 10}
    (found,) = findings(MonitorMissing(), planned("val_loss", waiting=patient, max_epochs=10))
    assert found.severity is Severity.INFO
    assert "waits for 10 checks in a run of 10 epochs, so it never stops it" in found.message
    assert findings(MonitorMissing(), planned("val_loss", waiting=patient, max_epochs=11)) == ()
    record = planned("val_loss", waiting=patient, max_epochs=50)
    record.add("monitors", [patient, {**STOPPING, "who": "ReduceLROnPlateau", "patience": 10}])
    (found,) = findings(MonitorMissing(), record)
    assert "ends the run after 10 checks, before the schedule lowers the rate after 10" in found.message


@pytest.mark.parametrize(("mode", "sign"), [("min", 1.0), ("max", -1.0)])
def test_a_min_delta_larger_than_the_steps_of_the_metric_is_found(mode: str, sign: float) -> None:
    def stopped(values: list[float], **changes: Any) -> Any:
        waiting = {**STOPPING, "monitor": "score", "mode": mode, "patience": 3, "min_delta": 1.0, **changes}
        record = training(run={"stopped": "no improvement for 3 checks"}, facts={"monitors": [waiting], "logged": ["score"]})
        for place, value in enumerate(values):
            record.append({"metric/score": sign * value}, step=place, epoch=place, batch=place)
        return findings(MonitorMissing(), record)

    (found,) = stopped([2.2, 2.0, 1.8, 1.7])
    assert found.severity == Severity.WARNING
    assert "got better in each of its last 3 checks, by 23% in all" in found.message
    assert stopped([2.2, 2.0, 1.8, 1.7], min_delta=0.0) == ()
    assert stopped([2.2, 2.0, 2.1, 1.7]) == ()
    assert stopped([2.2, 2.19, 2.18, 2.17]) == ()
