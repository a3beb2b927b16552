"""Rule T325: sums where means are meant."""

from __future__ import annotations

import math
from typing import Any

import pytest

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


def one_by_one(loss: list[float], passes: float = 8, share: float = 1.0, optimizer: str = "SGD", **series: Any) -> Record:
    """Samples that are run one by one, with a backward pass after each, in a run with these losses."""
    known = {"backward__passes": [passes] * 10, "backward__share": [share] * 10, "zero_grad__backwards": [[passes]] * 10, **series}
    return training(
        loss,
        run={"optimizers": [{"name": optimizer, "lr": 0.1}], "automatic_optimization": False},
        labels={**LABELS, "update_ratio__layers": ["a", "b"]},
        **known,
    )


THROWN = [1.0] * 50 + [5.5] * 50


@pytest.mark.parametrize(("loss", "found"), [(THROWN, 1), ([1.0] * 50 + [4.5] * 50, 0), ([1.0] * 50 + [math.nan] * 50, 1)])
def test_samples_of_a_batch_that_add_up_need_harm(loss: list[float], found: int) -> None:
    assert len(findings(AccumulationMismatch(), one_by_one(loss))) == found


def test_samples_of_a_batch_that_add_up_are_named_with_the_harm() -> None:
    (finding,) = findings(AccumulationMismatch(), one_by_one(THROWN))
    assert finding.message == (
        "8 backward passes make up a step, and each differentiates the whole loss (share 1.00, expected 0.12); the loss, 1 at first, "
        "comes to 5.5"
    )


@pytest.mark.parametrize(("moved", "right", "found"), [(0.15, 0.3, 1), (0.15, 0.9, 0), (0.05, 0.3, 0)])
def test_a_model_left_at_chance_by_large_steps_is_harm(moved: float, right: float, found: int) -> None:
    series: dict[str, Any] = {
        "update_ratio__layers": [[0.01, moved]] * 12,
        "val__accuracy": [right] * 10,
        "val__target_top_share": [0.3] * 10,
    }
    assert len(findings(AccumulationMismatch(), one_by_one([1.0] * 100, **series))) == found


def test_samples_of_a_batch_under_adam_and_few_of_them_are_healthy() -> None:
    assert findings(AccumulationMismatch(), one_by_one(THROWN, optimizer="Adam")) == ()
    assert findings(AccumulationMismatch(), one_by_one(THROWN, passes=3)) == ()
    assert findings(AccumulationMismatch(), one_by_one(THROWN, share=0.125)) == ()
