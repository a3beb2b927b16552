"""Rule T304: units that give zero for every sample."""

from __future__ import annotations

from typing import Any

from diagnose.record import Record
from diagnose.rules.dead_units import DeadUnits
from tests.rules.training import findings, not_run, training

LABELS = {"activation__dead": ["net.1 (ReLU)", "fc2 → relu"]}


def test_a_dead_layer_is_found() -> None:
    (found,) = findings(DeadUnits(), training(labels=LABELS, activation__dead=[[1.0, 0.9]] * 10))
    assert found.where == "net.1 (ReLU)"
    assert found.evidence["activations"] == 2


def test_a_layer_that_rests_now_and_then_is_healthy() -> None:
    assert findings(DeadUnits(), training(labels=LABELS, activation__dead=[[0.9, 0.3], [0.4, 0.3]] * 5)) == ()


def test_bounded_activations_are_left_to_another_rule() -> None:
    rows = [[float("nan"), float("nan")]] * 10
    assert "too short" in not_run(DeadUnits(), training(labels=LABELS, activation__dead=rows))


def test_a_layer_that_dies_after_the_dense_first_looks_is_found() -> None:
    steps = [*range(12), 15, 19, 24, 30, 38, 48, 60, 75, 94, 118, 148, 185, 232, 282]
    dying, waking = Record(), Record()
    for record in (dying, waking):
        record.label("activation/dead", ["net.1 (ReLU)"])
        for step in steps:
            gone = min(1.0, step / 60)
            record.append({"activation/dead": [gone if record is dying else 1 - gone]}, step=step)
    (found,) = findings(DeadUnits(), dying)
    assert found.evidence["share"] == found.evidence["persistence"] == 1
    assert findings(DeadUnits(), waking) == ()


def test_units_that_end_with_their_own_targets_are_left_to_another_rule() -> None:
    shrinking = [0.05 * 0.8**n for n in range(24)]
    both: dict[str, Any] = {"prediction__std": shrinking, "target__std": shrinking}
    assert "shrunk with its predictions" in not_run(DeadUnits(), training(labels=LABELS, activation__dead=[[1.0, 0.9]] * 10, **both))


def deep(first: float, *gradients: float) -> Record:
    """Nothing is learned, and the units of the last of three activations are dead."""
    names = [f"net.{i}" for i in range(len(gradients))]
    labels = {"activation__dead": ["a", "b", "c"], "grad_norm__layers": names, "update_ratio__layers": names}
    rows: dict[str, Any] = {"grad_norm__layers": [list(gradients)] * 20, "update_ratio__layers": [[1e-6] * len(gradients)] * 20}
    return training([1.39] * 300, labels=labels, activation__dead=[[first, 0.5, 0.9]] * 20, **rows)


def test_units_to_which_nothing_comes_are_left_to_the_vanishing_gradient() -> None:
    little_by_little = [10.0**-i for i in range(7, -1, -1)]
    assert "of which vanishing-gradient speaks" in not_run(DeadUnits(), deep(0.1, *little_by_little))
    assert len(findings(DeadUnits(), deep(0.6, *little_by_little))) == 1  # they end from the start
    assert len(findings(DeadUnits(), deep(0.1, 1e-7, 2e-7, 3e-7, 0.3, 0.5, 0.6, 0.8, 1.0))) == 1  # in one place


def test_units_that_end_since_the_loss_asks_for_a_constant_are_left_to_another_rule() -> None:
    spread = [[0.3, 0.2]] * 5 + [[0.3, 0.001]] * 7
    rows: dict[str, Any] = {"activation__dead": [[0.1, 0.9]] * 12, "activation__std": spread}
    labels = {**LABELS, "activation__std": LABELS["activation__dead"]}
    assert "of which collapsed-embedding speaks" in not_run(DeadUnits(), training([1.0] * 20 + [1e-6] * 100, labels=labels, **rows))
    assert len(findings(DeadUnits(), training([1.0] * 120, labels=labels, **rows))) == 1
