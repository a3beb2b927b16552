"""Rule T309: a loss that settles near chance."""

from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules import run
from diagnose.rules.underfitting import Underfitting
from tests.rules.training import falling, findings, not_run, training

PROBE = {"probe.overfit": {"sole": True, "progress": 0.97, "chance": 2.3, "floor": 0.0}}


def test_a_loss_that_settles_near_chance_is_found() -> None:
    (found,) = findings(Underfitting(), training(falling(2.5, 2.25, noise=0.01), facts=PROBE))
    assert found.evidence["gained"] < 0.1


def test_a_loss_that_settles_far_below_chance_is_healthy() -> None:
    assert findings(Underfitting(), training(falling(2.5, 0.5, noise=0.01), facts=PROBE)) == ()


def test_without_a_batch_learned_by_heart_it_does_not_run() -> None:
    facts = {"probe.overfit": {**PROBE["probe.overfit"], "progress": 0.2}}
    assert "did not learn one batch" in not_run(Underfitting(), training(falling(2.5, 2.25), facts=facts))


NEAR = {"data.simple": {"accuracy": 0.97, "rows": 256, "majority": 0.35, "classes": 3, "trained": 900, "model": "nearest"}}


def settled(accuracy: float) -> list[float]:
    return [min(accuracy, 0.3 + 0.1 * i) for i in range(10)]


def test_a_model_behind_its_nearest_neighbours_is_found() -> None:
    record = training(falling(1.1, 0.75, noise=0.01), facts=NEAR, val__accuracy=settled(0.7), train__accuracy=settled(0.65))
    (found,) = findings(Underfitting(), record)
    assert found.message == (
        "the model reaches an accuracy of 0.700, and the five nearest of 900 training rows 0.970 on 256 validation rows"
    )


def test_a_model_near_its_neighbours_or_still_falling_is_healthy() -> None:
    facts = {**NEAR, **PROBE}
    near = training(falling(1.1, 0.4, noise=0.01), facts=facts, val__accuracy=settled(0.85))
    assert findings(Underfitting(), near) == ()
    regularised = training(falling(1.1, 0.75, noise=0.01), facts=facts, val__accuracy=settled(0.9), train__accuracy=settled(0.6))
    assert findings(Underfitting(), regularised) == ()
    line = [1.1 - 0.002 * i for i in range(300)]
    assert findings(Underfitting(), training(line, facts=facts, val__accuracy=settled(0.7))) == ()


def test_few_validation_rows_prove_nothing() -> None:
    few = {**PROBE, "data.simple": {**NEAR["data.simple"], "accuracy": 0.9, "rows": 8}}
    assert findings(Underfitting(), training(falling(1.1, 0.75, noise=0.01), facts=few, val__accuracy=settled(0.6))) == ()


def test_without_anything_to_hold_it_against_it_does_not_run() -> None:
    assert "not known" in not_run(Underfitting(), training(falling(1.1, 0.75)))


def test_accuracy_that_is_given_up_on_purpose_is_not_judged() -> None:
    weighted = {**NEAR, **PROBE, "probe.step": {"class_weights": {"weight": [1.0, 3.0], "count": [30, 10]}}}
    assert findings(Underfitting(), training(falling(1.1, 0.75, noise=0.01), facts=weighted, val__accuracy=settled(0.7))) == ()
    uneven = {**PROBE, "data.simple": {**NEAR["data.simple"], "majority": 0.6}}
    assert findings(Underfitting(), training(falling(1.1, 0.75, noise=0.01), facts=uneven, val__accuracy=settled(0.7))) == ()


VALUES = {"explained": 0.97, "error": 0.01, "rows": 256, "trained": 900, "model": "nearest"}


def regression(end: float, near: dict[str, Any] | None = None, ended: dict[str, Any] | None = None, losses: Any = None) -> Any:
    """Targets of variance 1, of which ``1 - end`` is explained on validation rows."""
    facts = {"data.simple": VALUES | (near or {}), "task": {"loss": "mse_loss"}, "run": {"finished": True, **(ended or {})}, **PROBE}
    known: dict[str, Any] = {"target__std": [1.0] * 20, "val__loss": [end] * 10, "val__target_std": [1.0] * 10}
    return training(falling(1.0, end + 0.02, noise=0.01) if losses is None else losses, facts=facts, **known)


def test_values_that_the_nearest_rows_explain_far_better_are_found() -> None:
    (found,) = findings(Underfitting(), regression(0.6))
    assert found.message == (
        "the model explains 40% of the targets' variance, and the five nearest of 900 training rows 97% on 256 validation rows"
    )
    assert found.where == "val/loss"
    assert found.evidence["simple"] == 0.97


def test_values_that_nobody_or_the_model_explains_too_are_healthy() -> None:
    assert findings(Underfitting(), regression(0.4)) == ()
    assert findings(Underfitting(), regression(0.8, {"explained": 0.1})) == ()  # noise
    assert findings(Underfitting(), regression(0.6, {"error": 0.2})) == ()  # by chance, of few rows


def test_a_run_that_goes_on_or_still_falls_may_come_to_explain_values() -> None:
    assert findings(Underfitting(), regression(0.6, ended={"finished": False})) == ()
    assert findings(Underfitting(), regression(0.6, ended={"interrupted": True})) == ()
    assert findings(Underfitting(), regression(0.6, losses=[1.1 - 0.0015 * i for i in range(300)])) == ()


@pytest.mark.parametrize(
    ("epochs", "finished", "behind", "found"), [(5, True, 0.8, 1), (4, True, 0.8, 0), (5, False, 0.8, 0), (5, True, 0.58, 0)]
)
def test_a_run_that_ended_far_behind_is_found_however_short_it_was_and_still_falling(
    epochs: int, finished: bool, behind: float, found: int
) -> None:
    facts = {**NEAR, "run": {"finished": finished, "epochs_done": epochs}}
    own = 0.97 - behind * (1 - 0.35)
    told = run(Underfitting(), training([1.1, 1.0, 0.9, 0.8, 0.7], facts=facts, val__accuracy=[own] * 5)).findings
    assert len(told) == found
    values = {**facts, "data.simple": {**VALUES, "model": "linear"}, "task": {"loss": "mse_loss"}}
    known: dict[str, Any] = {"target__std": [1.0] * 5, "val__loss": [0.03 + behind] * 5, "val__target_std": [1.0] * 5}
    told = run(Underfitting(), training([1.1, 1.0, 0.9, 0.8, 0.7], facts=values, **known)).findings
    assert ["a linear map of the inputs, fitted to 900 training rows, 97%" in f.message for f in told] == [True] * found


def test_scores_that_can_hardly_differ_are_found() -> None:
    facts = {"probe.initial_loss": {"loss": 2.31, "total": 2.31, "chance": 2.303}}

    def bounded(low: float, right: float) -> str:
        known: dict[str, Any] = {"train__accuracy": [right] * 20, "target__top_share": [0.12] * 20, "val__loss": [low + 0.01] * 8}
        known |= {"val__accuracy": [right] * 8, "val__target_top_share": [0.12] * 8}
        record = training(falling(2.31, low, noise=0.001), facts=facts, **known)
        return " ".join(f.message for f in run(Underfitting(), record, strict=True).findings)

    assert "nearly equal for all classes" in bounded(2.28, 0.95)
    assert bounded(2.28, 0.3) == bounded(1.9, 0.95) == ""


def test_chance_of_one_batch_says_little_where_batches_differ_more_than_there_is_to_gain() -> None:
    """Counts without log y!: the batch that was learned by heart had larger ones than most."""
    counts = {"probe.overfit": {"sole": True, "progress": 0.97, "chance": -170.0, "floor": -187.0}}
    assert findings(Underfitting(), training(falling(-150.0, -162.0, noise=0.15), facts=counts)) == ()
    assert len(findings(Underfitting(), training(falling(-168.0, -171.0, noise=0.001), facts=counts))) == 1


def test_one_batch_with_few_of_a_rare_class_is_not_taken_for_all() -> None:
    record = training(
        falling(0.39, 0.313, noise=0.05),
        facts={"probe.overfit": {"sole": True, "progress": 0.97, "chance": 0.33, "floor": 0.0}, "task": {"classes": 2}},
        target__top_share=[0.868] * 30,
    )
    assert findings(Underfitting(), record) == ()  # a constant prediction has 0.39
    stays = training(falling(0.39, 0.38, noise=0.05), facts=record.facts, target__top_share=[0.868] * 30)
    assert "chance (0.3902)" in findings(Underfitting(), stays)[0].message


@pytest.mark.parametrize(("held", "found"), [(0.98, 0), (0.999, 1)])
def test_the_little_that_can_be_learned_is_no_underfitting_where_it_holds(held: float, found: int) -> None:
    facts = {"probe.overfit": {"sole": True, "progress": 0.97, "chance": 1.0, "floor": 0.0}, "task": {"loss": "mse_loss"}}
    series: dict[str, Any] = {"val__loss": [1.0, held, held, held], "val__target_std": [1.0] * 4, "target__std": [1.0] * 30}
    assert len(findings(Underfitting(), training(falling(1.02, 0.975, noise=0.01), facts=facts, **series))) == found
