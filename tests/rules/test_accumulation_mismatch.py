"""Rule T325: sums where means are meant."""

from __future__ import annotations

from diagnose.record import Record
from diagnose.rules.accumulation_mismatch import AccumulationMismatch
from tests.rules.training import findings, not_run, training

LABELS = {"zero_grad__backwards": ["SGD 0"], "zero_grad__carried": ["SGD 0"]}


def accumulated(passes: float, share: float, carried: float = 0.0) -> Record:
    return training(labels=LABELS, zero_grad__backwards=[[passes]] * 10, zero_grad__carried=[[carried]] * 10, backward__share=[share] * 10)


def test_whole_losses_are_found() -> None:
    (found,) = findings(AccumulationMismatch(), accumulated(8, 1.0))
    assert found.fix == "divide the loss by 8 before manual_backward"


def test_gradients_divided_by_hand_are_healthy() -> None:
    for left, said in (([1.2], ""), ([0.3], "made smaller by hand before the step, to 0.3")):
        record = accumulated(8, 1.0)
        record.label("zero_grad/left", ["SGD 0"])
        for step in range(10):
            record.append({"zero_grad/left": left}, step=step)
        if said:
            assert said in not_run(AccumulationMismatch(), record)
        else:
            assert len(findings(AccumulationMismatch(), record)) == 1


def test_divided_losses_are_healthy() -> None:
    assert findings(AccumulationMismatch(), accumulated(8, 0.125)) == ()


def test_one_pass_per_step_is_healthy() -> None:
    assert findings(AccumulationMismatch(), accumulated(1, 1.0)) == ()


def test_gradients_that_are_never_cleared_are_another_fault() -> None:
    assert "missing-zero-grad" in not_run(AccumulationMismatch(), accumulated(8, 1.0, carried=1.0))
