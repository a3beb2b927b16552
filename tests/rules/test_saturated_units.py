"""Rule T305: bounded units at their bounds."""

from __future__ import annotations

from typing import Any

from diagnose.rules.saturated_units import SaturatedUnits
from diagnose.values import Finding, Severity
from tests.rules.training import falling, findings, not_run, training

LABELS = {"activation__saturated": ["fc1 → tanh", "fc2 → sigmoid"]}


def rows(first: float, second: float = 0.0) -> list[list[float]]:
    return [[first, second]] * 10


def test_saturation_without_progress_is_a_warning() -> None:
    (found,) = findings(SaturatedUnits(), training([1.09] * 200, labels=LABELS, activation__saturated=rows(0.7)))
    assert found.where == "fc1 → tanh"
    assert found.severity == Severity.WARNING


def test_some_saturation_with_progress_is_for_information() -> None:
    (found,) = findings(SaturatedUnits(), training(falling(1.1, 0.1), labels=LABELS, activation__saturated=rows(0.7)))
    assert found.severity == Severity.INFO


def test_a_hidden_layer_of_nothing_but_bounds_is_a_warning_all_the_same() -> None:
    (found,) = findings(SaturatedUnits(), training(falling(1.1, 0.1), labels=LABELS, activation__saturated=rows(0.97)))
    assert found.severity == Severity.WARNING


def test_a_sure_sigmoid_before_binary_cross_entropy_is_healthy() -> None:
    facts = {"task": {"loss": "binary_cross_entropy"}}
    assert findings(SaturatedUnits(), training(falling(0.7, 0.01), facts=facts, labels=LABELS, activation__saturated=rows(0.0, 0.99))) == ()


def test_gates_are_never_the_output() -> None:
    labels = {"activation__saturated": ["lstm → gates"]}
    (found,) = findings(SaturatedUnits(), training(falling(1.1, 0.1), labels=labels, activation__saturated=[[0.97]] * 10))
    assert found.severity == Severity.WARNING


def test_unbounded_activations_do_not_run() -> None:
    assert "no bounded activation" in not_run(
        SaturatedUnits(), training([1.0], labels=LABELS, activation__saturated=rows(float("nan"), float("nan")))
    )


def thrown(loss: list[float], entries: list[float]) -> tuple[Finding, ...]:
    labels = {**LABELS, "activation__pushed": LABELS["activation__saturated"]}
    pushed = [[share, 0.0] for share in entries]
    return findings(SaturatedUnits(), training(loss, labels=labels, activation__saturated=rows(0.0), activation__pushed=pushed))


def test_units_thrown_from_bound_to_bound_from_the_start_are_found() -> None:
    (found,) = thrown([1.09] * 200, [0.75] * 10)
    assert (found.where, found.severity) == ("fc1 → tanh", Severity.WARNING)
    assert "75% of what fc1 → tanh gives lies at one or the other of its bounds" in found.message
    (learning,) = thrown(falling(1.1, 0.1), [0.75] * 10)
    assert learning.severity == Severity.INFO


def test_units_thrown_about_are_a_warning_where_much_is_left_to_learn() -> None:
    known: dict[str, Any] = {"activation__saturated": [[0.0]] * 10, "activation__pushed": [[0.75]] * 10}
    labels = {"activation__saturated": ["act (Tanh)"], "activation__pushed": ["act (Tanh)"]}

    def learned(right: float, head: list[str]) -> tuple[Finding, ...]:
        score: dict[str, Any] = {"train__accuracy": [right] * 20, "target__top_share": [0.2] * 20}
        record = training(falling(1.8, 0.5), facts={"probe.step": {"head": head}}, labels=labels, **known, **score)
        return findings(SaturatedUnits(), record)

    assert [f.severity for f in learned(0.6, [])] == [Severity.WARNING]
    assert [f.severity for f in learned(0.9, [])] == [Severity.INFO]
    assert learned(0.6, ["tanh"]) == ()


def test_codes_of_zeros_and_ones_that_are_learned_are_healthy() -> None:
    assert thrown([1.09] * 200, [0.0, 0.1, 0.2, 0.3, 0.4, *[0.9] * 40]) == ()
    assert thrown([1.09] * 200, [0.75] * 5 + [0.2] * 5) == ()
    assert thrown([1.09] * 200, [0.45] * 10) == ()


def later(share: float, first: int = 5, name: str = "fc1 → tanh", of: int = 12) -> list[Finding]:
    """A run without progress in which the units come to their bounds at a measured step; steps are dense in the beginning."""
    steps = [0, 1, 2, 3, 4, 6, 15, 38, 94, 148, 232, 332][:of]
    record = training([1.09] * 400)
    record.label("activation/saturated", [name, "fc2 → sigmoid"])
    for row, step in enumerate(steps):
        record.append({"activation/saturated": [share if row >= first else 0.0, 0.0]}, step=step)
    return list(SaturatedUnits().judge(record))


def test_units_that_come_to_their_bounds_and_stay_there() -> None:
    (found,) = later(1.0)
    assert found.severity == Severity.WARNING
    assert found.message == "100% of the units of fc1 → tanh came to their bounds for nearly every sample, and stayed there to the end"
    assert later(0.85) == []
    assert later(1.0, first=10) == []  # not long enough
    assert later(1.0, name="lstm → gates") == []


def test_codes_that_are_learned_are_healthy() -> None:
    record = training(falling(1.1, 0.1))
    record.label("activation/saturated", ["fc1 → tanh", "fc2 → sigmoid"])
    for step in (0, 1, 2, 3, 4, 60, 94, 148, 232, 332):
        record.append({"activation/saturated": [float(step > 4), 0.0]}, step=step)
    assert findings(SaturatedUnits(), record) == ()
