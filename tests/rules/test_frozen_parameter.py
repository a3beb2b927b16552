"""Rule T313: layers that never change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.frozen_parameter import FrozenParameter
from diagnose.values import Severity
from tests.rules.playing import LAYERS, ROWS, game
from tests.rules.training import RUN, findings, not_run, training

LABELS = {"update_ratio__layers": ["a", "b"], "grad_norm__layers": ["a", "b"]}


def record(ratio: float, norm: float) -> Record:
    series: dict[str, Any] = {"update_ratio__layers": [[ratio, 1e-3]] * 10, "grad_norm__layers": [[norm, 0.1]] * 10}
    return training([1.1] * 300, labels=LABELS, weights__moved=[0.0, 1e-3], **series)


def standing(rows: int = 60, run: dict[str, Any] | None = None, **series: Any) -> Record:
    return training([1.1] * rows, run=run, weights__moved=[0.0] * 10, **series)


def test_a_layer_that_stands_still_is_found() -> None:
    (found,) = findings(FrozenParameter(), record(0.0, 0.3))
    assert found.where == "a"


def test_a_layer_without_any_gradient_is_left_to_another_rule() -> None:
    assert findings(FrozenParameter(), record(0.0, float("nan"))) == ()


def test_a_layer_that_moves_is_healthy() -> None:
    assert findings(FrozenParameter(), record(1e-6, 0.3)) == ()


def test_a_layer_whose_rate_holds_it_back_is_found() -> None:
    (found,) = findings(FrozenParameter(), record(1e-8, 0.05))
    assert found.where == "a"
    assert found.evidence["update"] == 1e-8


def test_a_slow_layer_with_a_vanishing_gradient_is_left_to_another_rule() -> None:
    assert findings(FrozenParameter(), record(1e-8, 1e-4)) == ()


def test_a_layer_that_few_batches_need_is_healthy() -> None:
    known: dict[str, Any] = {"update_ratio__layers": [[0.0, 2e-3]] * 24 + [[1e-3, 2e-3]] * 6, "weights__moved": [1e-3] * 2}
    known["grad_norm__layers"] = [[np.nan, 0.1]] * 24 + [[0.1, 0.1]] * 6
    assert findings(FrozenParameter(), training([1.1] * 300, labels=LABELS, **known)) == ()


def test_rates_that_decay_from_layer_to_layer_are_healthy() -> None:
    assert findings(FrozenParameter(), record(4e-6, 0.05)) == ()  # 300 steps move it by more than a thousandth


def test_a_run_in_which_nothing_moves_is_an_error_and_says_that_no_step_was_seen() -> None:
    (found,) = findings(FrozenParameter(), standing())
    assert found.severity == Severity.ERROR
    assert "no optimizer was seen to step" in found.message


@pytest.mark.parametrize(("rate", "said"), [(0.0, "the learning rate is 0"), (0.1, "steps without moving")])
def test_it_says_why_steps_move_nothing(rate: float, said: str) -> None:
    series: dict[str, Any] = {"grad_norm__total": [0.3] * 10, "lr": [[rate, np.nan]] * 9 + [[rate, rate]]}  # the second group came late
    (found,) = findings(FrozenParameter(), training([1.1] * 60, labels={"lr": ["a", "b"]}, weights__moved=[0.0] * 10, **series))
    assert said in found.message


def test_a_run_that_moved_late_is_healthy() -> None:
    series: dict[str, Any] = {"update_ratio__layers": [[1e-3, 1e-3]] * 10, "grad_norm__layers": [[0.1, 0.1]] * 10}
    assert findings(FrozenParameter(), training([1.1] * 60, labels=LABELS, weights__moved=[0.0, 0.0, 1e-4], **series)) == ()


def test_too_few_batches_or_none_that_an_optimizer_could_use_are_not_judged() -> None:
    assert "at least 30" in not_run(FrozenParameter(), standing(29))
    assert "at least 96" in not_run(FrozenParameter(), standing(90, {"accumulate": 32}))
    assert "no optimizer" in not_run(FrozenParameter(), standing(run={"optimizers": []}))
    begun = {"finished": False}
    assert "too early" in not_run(FrozenParameter(), standing(60, begun))
    assert findings(FrozenParameter(), standing(120, begun))
    assert "too early" in not_run(FrozenParameter(), standing(120, {**begun, "automatic_optimization": False}))


def test_steps_after_cleared_gradients_are_told_from_none() -> None:
    (found,) = findings(FrozenParameter(), standing(zero_grad__backwards=[1.0] * 10))
    assert "the optimizer steps without any gradient" in found.message


def test_of_two_players_the_one_that_never_steps_is_found() -> None:
    (found,) = findings(FrozenParameter(), game(critic={"steps": 0, "waiting": 300}))
    assert found.severity == Severity.ERROR
    assert found.message == "the optimizer of critic (Adam 1) never stepped, though 300 backward passes left it gradients"


@pytest.mark.parametrize(("pull", "said"), [(0.1, "stepped 300 times, and none"), (0.0, "stepped 300 times without any gradient")])
def test_of_two_players_the_one_that_steps_for_nothing_is_found(pull: float, said: str) -> None:
    (found,) = findings(FrozenParameter(), game(updates=(0.0, 0.0, 3e-3, 5e-3), pulls=[pull] * ROWS))
    assert found.message.startswith(f"the optimizer of maker (Adam 0) {said}")


@pytest.mark.parametrize(
    ("ended", "critic", "found"),
    [
        ({"finished": True, "epochs_done": 2}, {}, True),
        ({"finished": True, "epochs_done": 1}, {}, False),
        ({"finished": False, "epochs_done": 2}, {}, False),
        ({"finished": True, "epochs_done": 2}, {"trainable": False}, False),
        ({"finished": True, "epochs_done": 2}, {"layers": LAYERS[1:]}, False),  # one of two phases that share layers
    ],
)
def test_a_player_that_was_never_given_a_gradient_is_found_when_all_is_over(
    ended: dict[str, Any], critic: dict[str, Any], found: bool
) -> None:
    record = game(critic={"steps": 0, "waiting": 0, **critic})
    record.facts["run"].update(ended)
    if not found:
        assert "several optimizers" in not_run(FrozenParameter(), record)
        return
    (told,) = findings(FrozenParameter(), record)
    assert told.message == "the optimizer of critic (Adam 1) never stepped, and no backward pass left it a gradient"
    assert told.severity == Severity.WARNING


@pytest.mark.parametrize(
    ("entry", "finished", "found"), [({}, True, 1), ({"reached": False}, True, 0), ({"optimized": False}, True, 0), ({}, False, 0)]
)
def test_a_layer_whose_gradient_is_always_taken_away_is_found(entry: dict[str, bool], finished: bool, found: int) -> None:
    """A hook drops the gradients of the encoder until an epoch that the run does not come to."""
    known = [{"name": f"a.{part}", "reached": True, "optimized": True, **entry} for part in ("weight", "bias")]
    series: dict[str, Any] = {"update_ratio__layers": [[0.0, 1e-3]] * 10, "grad_norm__layers": [[np.nan, 0.1]] * 10}
    facts = {"probe.parameters": {"registered": known}}
    kept = training([1.1] * 300, run={"finished": finished}, facts=facts, labels=LABELS, weights__moved=[0.0, 1e-3], **series)
    assert [f.where for f in findings(FrozenParameter(), kept)] == ["a"] * found


@pytest.mark.parametrize(("wanted", "left"), [(True, "frozen still"), (False, "trained all the same")])
def test_an_attribute_that_parameters_do_not_follow(wanted: bool, left: str) -> None:
    record = Record()
    record.add("asked", [{"name": "backbone", "wanted": wanted, "parameters": 6}])
    (found,) = run(FrozenParameter(), record).findings
    assert (found.where, found.severity) == ("backbone", Severity.WARNING)
    assert found.message == (
        f"backbone.requires_grad = {wanted} was set on a module, which does nothing to its parameters: 6 of them are {left}"
    )
    assert found.fix.startswith(f"call self.backbone.requires_grad_({wanted})")
    record.add("asked", [])
    assert run(FrozenParameter(), record).reason == "weights/moved was not recorded"


@pytest.mark.parametrize(
    ("at", "unit", "finished", "found"),
    [
        (25, "epochs", False, 1),
        (10, "epochs", False, 1),
        (9, "epochs", False, 0),
        (999, "epochs", False, 0),  # never, by intent
        (25, "", False, 0),  # steps or epochs: the end will show
        (25, "", True, 1),
        (300, "steps", False, 1),
        (299, "steps", False, 0),
    ],
)
def test_what_is_thawed_only_after_the_end_is_found(at: int, unit: str, finished: bool, found: int) -> None:
    waiting = {"moments": [{"who": "Rest.unfreeze_at", "at": at, "unit": unit}], "frozen": ["backbone", "neck"]}
    record = Record()
    record.add("run", {**RUN, "finished": finished})
    record.add("awaited", waiting)
    said = run(FrozenParameter(), record).findings
    assert [f.where for f in said] == ["backbone"] * found
    assert all("which ends before it thaws backbone, neck" in f.message for f in said)


def test_what_is_thawed_already_waits_for_nothing() -> None:
    assert "weights/moved" in not_run(FrozenParameter(), training([1.1] * 300, facts={"awaited": {}}))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, 1),
        ({"weights": 99}, 0),
        ({"others": 0}, 0),  # on purpose
        ({"largest": 1.01}, 0),  # trained before
        ({"largest": 0.98}, 0),
        ({"largest": 0.99, "distance": 0.07}, 1),
        ({"distance": 0.08}, 0),
    ],
)
def test_a_last_layer_that_is_frozen_as_it_was_drawn(changed: dict[str, float], found: int) -> None:
    record = Record()
    record.add("probe.parameters", {"registered": [{"name": "lora", "reached": True, "optimized": True}]})
    record.add("probe.frozen_head", {"name": "head", "weights": 650, "largest": 0.9995, "distance": 0.03, "others": 4, **changed})
    said = run(FrozenParameter(), record).findings
    assert [f.where for f in said] == ["head"] * found
    record.add("awaited", {"moments": [], "frozen": ["head"]})
    assert not run(FrozenParameter(), record).findings
