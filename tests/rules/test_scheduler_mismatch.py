"""Rule T317: schedules that do not fit the run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules.monitor_missing import MonitorMissing
from diagnose.rules.scheduler_mismatch import SchedulerMismatch
from diagnose.values import Finding
from tests.rules.training import findings, not_run, training

LABELS = {"lr": ["SGD 0, group 0"]}


def schedule(rates: Iterable[float], *schedulers: dict[str, Any], **run: Any) -> Record:
    return training([1.0] * 300, run={"schedulers": list(schedulers), **run}, labels=LABELS, lr=[[r] for r in rates])


def test_one_cycle_for_batches_stepped_per_epoch_is_found() -> None:
    cycle = {"name": "OneCycleLR", "interval": "epoch", "frequency": 1, "total_steps": 300}
    (found,) = findings(SchedulerMismatch(), schedule([1e-3] * 30, cycle))
    assert found.evidence["factor"] == 30


def test_one_cycle_stepped_per_batch_is_healthy() -> None:
    cycle = {"name": "OneCycleLR", "interval": "step", "frequency": 1, "total_steps": 300}
    rates = [*np.linspace(0.01, 0.1, 10), *np.linspace(0.1, 1e-6, 20)]
    assert findings(SchedulerMismatch(), schedule(rates, cycle)) == ()


def test_a_cosine_for_epochs_stepped_per_batch_is_found() -> None:
    cosine = {"name": "CosineAnnealingLR", "interval": "step", "frequency": 1, "T_max": 10}
    assert len(findings(SchedulerMismatch(), schedule([0.1, 0.0] * 15, cosine))) == 1


def test_a_cosine_for_epochs_stepped_per_epoch_is_healthy() -> None:
    cosine = {"name": "CosineAnnealingLR", "interval": "epoch", "frequency": 1, "T_max": 10}
    assert findings(SchedulerMismatch(), schedule(0.05 * (1 + np.cos(np.linspace(0, np.pi, 30))), cosine)) == ()


def test_a_rate_that_dies_early_is_found() -> None:
    (found,) = findings(SchedulerMismatch(), schedule([*np.geomspace(0.1, 1e-6, 10), *[1e-6] * 20]))
    assert found.evidence["share"] > 0.4


def test_three_decades_of_step_decay_are_healthy() -> None:
    assert findings(SchedulerMismatch(), schedule([0.1] * 10 + [0.01] * 10 + [0.001] * 10)) == ()


def test_milestones_that_are_passed_at_once() -> None:
    def judged(rates: list[float], accuracy: float = 0.5) -> tuple[Finding, ...]:
        seen: dict[str, Any] = {"train__accuracy": [accuracy] * 30, "target__top_share": [0.1] * 30}
        return findings(SchedulerMismatch(), training([1.0] * 300, labels=LABELS, lr=[[r] for r in rates], **seen))

    (found,) = judged([0.1, 0.01] + [0.001] * 28)
    assert found.message == "the learning rate is 0.01 of its peak or less since step 20 of 300"
    assert judged([0.1, 0.01] + [0.001] * 28, accuracy=0.95) == ()  # a head first, then all of it at a small rate
    assert judged([0.1, 0.01] + [0.0015] * 28) == ()
    assert judged([0.1] * 8 + [0.001] * 22) == ()


def test_a_rate_that_only_rises_is_found() -> None:
    assert len(findings(SchedulerMismatch(), schedule(np.linspace(0, 0.01, 30)))) == 1


def test_warm_up_to_a_constant_rate_is_healthy() -> None:
    assert findings(SchedulerMismatch(), schedule([*np.linspace(0, 0.01, 12), *[0.01] * 18])) == ()


def test_a_run_that_stopped_during_warm_up_is_healthy() -> None:
    assert findings(SchedulerMismatch(), schedule(np.linspace(0, 0.01, 30), stopped="no improvement")) == ()


def test_few_rates_are_too_short() -> None:
    assert "too short" in not_run(SchedulerMismatch(), schedule([0.1] * 3))


def test_a_rate_that_is_multiplied_by_itself_is_found() -> None:
    rates, function = [*np.linspace(1e-7, 4e-6, 10), *np.linspace(4e-6, 1e-9, 20)], {"name": "LambdaLR", "interval": "step", "frequency": 1}

    def given(rate: float) -> Record:
        return schedule(rates, function, optimizers=[{"name": "AdamW", "lr": rates[0], "initial_lr": rate}])

    (found,) = findings(SchedulerMismatch(), given(2e-3))
    assert "never rises above 4e-06, 0.002 of the 0.002 that the optimizer was given" in found.message
    assert "return a factor" in found.fix
    assert findings(SchedulerMismatch(), given(4e-6)) == ()
    assert findings(SchedulerMismatch(), given(1.0)) == ()


def by_hand(rates: Iterable[float], updates: int, **scheduler: Any) -> Record:
    """A run of 300 batches under manual optimisation whose optimizer steps so often."""
    known = {"interval": "epoch", "frequency": 1, "stepped": 300, **({"updates": updates} if updates else {}), **scheduler}
    record = training([1.0] * 300, run={"schedulers": [known], "automatic_optimization": False, "steps_done": updates})
    record.label("lr", LABELS["lr"])
    each = list(rates)
    for row, rate in enumerate(each):
        batch = row * 300 // len(each)
        record.append({"lr": [rate]}, step=batch * updates // 300, epoch=batch // 30, batch=batch)
    return record


def test_a_rate_is_idle_for_the_batches_of_a_manual_run_not_for_its_steps() -> None:
    (found,) = findings(SchedulerMismatch(), by_hand([0.1] * 4 + [0.0] * 26, updates=37, name="LambdaLR"))
    assert found.message == (
        "the learning rate is 0 of its peak or less since batch 40 of 300: LambdaLR is stepped 300 times, its optimizer 37 times"
    )
    assert "where its optimizer steps" in found.fix


@pytest.mark.parametrize(("updates", "floor", "found"), [(100, 0.01, 1), (100, 0.02, 0), (200, 0.01, 0), (300, 0.01, 0)])
def test_a_hundredth_of_the_rate_is_idle_where_the_schedule_outruns_its_optimizer(updates: int, floor: float, found: int) -> None:
    assert len(findings(SchedulerMismatch(), by_hand([1.0] * 10 + [floor] * 20, updates, name="ExponentialLR"))) == found


@pytest.mark.parametrize(("length", "found"), [(37, 1), (10, 1), (300, 0), (120, 0)])
def test_a_cosine_that_is_stepped_by_hand(length: int, found: int) -> None:
    rates = 0.05 * (1.2 + np.cos(np.linspace(0, 300 / length, 30) * np.pi))
    hits = findings(SchedulerMismatch(), by_hand(rates, updates=37, name="CosineAnnealingLR", T_max=length))
    assert [f.message for f in hits] == [
        f"CosineAnnealingLR is laid out for {length} steps and is stepped 300 times in this run, by hand"
    ] * found


@pytest.mark.parametrize(("stepped", "found"), [(600, 1), (310, 0)])
def test_a_schedule_that_lightning_and_the_module_step(stepped: int, found: int) -> None:
    cosine = {"name": "CosineAnnealingLR", "interval": "step", "frequency": 1, "T_max": 300, "stepped": stepped}
    hits = findings(SchedulerMismatch(), schedule(0.05 * (1.2 + np.cos(np.linspace(0, np.pi, 30))), cosine))
    assert ["once per step and by hand" in hit.message for hit in hits] == [True] * found


def test_each_of_two_schedules_is_held_against_its_own_optimizer() -> None:
    def judged(of: str) -> tuple[Finding, ...]:
        record = by_hand(0.05 * (1.2 + np.cos(np.linspace(0, 9, 30))), 0, name="CosineAnnealingLR", T_max=60, of=of)
        record.add("turns", [{"name": "Adam 0", "steps": 300}, {"name": "Adam 1", "steps": 60}])
        return findings(SchedulerMismatch(), record)

    assert len(judged("Adam 1")) == 1
    assert judged("Adam 0") == ()


@pytest.mark.parametrize(
    ("monitor", "mode", "last", "found"),
    [
        ("val_loss", "max", 1e-4, 1),
        ("val_acc", "min", 1e-4, 1),
        ("val_loss", "max", 0.05, 1),
        ("val_loss", "min", 1e-4, 0),
        ("reward", "max", 1e-4, 0),
    ],
)
def test_a_plateau_that_waits_in_the_wrong_direction(monitor: str, mode: str, last: float, found: int) -> None:
    plateau = {"name": "ReduceLROnPlateau", "interval": "epoch", "frequency": 1}
    record = schedule([0.1] * 20 + [last] * 10, plateau)
    record.add("monitors", [{"who": "ReduceLROnPlateau", "monitor": monitor, "mode": mode}])
    hits = findings(SchedulerMismatch(), record)
    assert len(hits) == found
    brought = "has brought the learning rate down from 0.1 to 0.0001" if last < 0.01 else "by its name"
    assert all(f"takes a {'higher' if mode == 'max' else 'lower'} {monitor!r} for better" in hit.message for hit in hits)
    assert all(hit.message.endswith(brought) for hit in hits)
    assert all(hit.fix == f"give it mode={'min' if mode == 'max' else 'max'!r}" for hit in hits)


def test_the_wrong_direction_is_told_before_training() -> None:
    record = Record()
    record.add("run", {})
    record.add("monitors", [{"who": "ReduceLROnPlateau", "monitor": "val_dice", "mode": "min"}])
    (hit,) = findings(SchedulerMismatch(), record)
    assert hit.message == "ReduceLROnPlateau takes a lower 'val_dice' for better, by its name"
    assert findings(MonitorMissing(), record) == ()


@pytest.mark.parametrize(
    ("checks", "last", "found"),
    [
        ([1.9, 1.0, 0.9, 0.9, 0.9], 1e-5, 1),
        ([1.9, 2.0, 1.0, 0.9, 0.9], 1e-5, 0),  # it stalled before the rate came down
        ([1.9, 1.85, 0.9, 0.9, 0.9], 1e-5, 0),  # hardly better
        ([1.9, 1.0, 0.9, 0.9, 0.9], 0.05, 0),  # the rate is little lower
    ],
)
def test_a_plateau_that_does_not_count_what_is_gained(checks: list[float], last: float, found: int) -> None:
    plateau = {"name": "ReduceLROnPlateau", "interval": "epoch", "frequency": 1}
    record = schedule([0.1] * 20 + [0.03] + [last] * 9, plateau)
    for number, value in enumerate(checks):
        record.append({"metric/val_loss": value}, step=100 * (number + 1), epoch=number)
    record.add("monitors", [{"who": "ReduceLROnPlateau", "monitor": "val_loss", "mode": "min"}])
    said = findings(SchedulerMismatch(), record)
    assert len(said) == found
    assert all("at each of the 2 checks until then, by 47% at the last" in f.message for f in said)
