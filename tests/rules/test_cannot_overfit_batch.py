from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.cannot_overfit_batch import CannotOverfitBatch
from diagnose.values import Severity
from tests.rules.probes import findings, not_run, step

STUCK: dict[str, Any] = {"initial": 2.4, "final": 1.9, "floor": 0.0, "chance": 2.2, "progress": 0.14, "steps": 150, "rate": 0.03}
STUCK |= {"batch_size": 32, "targets": 32, "weights": 4000, "sole": True, "losses": [2.4, 1.9]}


def judge(**changes: Any) -> list[Any]:
    return findings(CannotOverfitBatch(), probe__overfit={**STUCK, **changes})


def test_a_batch_that_is_not_learned() -> None:
    (finding,) = judge()
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert finding.message == "after 150 steps on one batch of 32 the loss is 1.9; a constant prediction gives 2.2, the floor is 0"
    assert "not the learning rate" in finding.fix
    assert finding.evidence == {"final": 1.9, "floor": 0.0, "chance": 2.2, "progress": 0.14, "limit": 0.4, "steps": 150}


def squeezed(units: int, classes: int, **changes: Any) -> list[Any]:
    layers = [{"name": name, "fan_in": a, "fan_out": b} for name, a, b in (("net.0", 64, units), ("net.2", units, classes))]
    facts = {"probe__initialization": layers, "probe__step": step(classes=classes)}
    return findings(CannotOverfitBatch(), probe__overfit={**STUCK, **changes}, **facts)


def test_a_layer_that_ten_classes_cannot_pass_is_named() -> None:
    (finding,) = squeezed(1, 10)
    assert finding.where == "net.0"
    assert finding.message.endswith("; net.0 passes on 1 of 64 numbers")
    assert "widen net.0" in finding.fix


def test_wider_layers_fewer_classes_and_learned_batches_are_not_blamed_on_it() -> None:
    assert squeezed(3, 10)[0].where == "model.py:31"
    assert squeezed(1, 4)[0].where == "model.py:31"
    assert squeezed(1, 10, progress=0.9) == []


def test_it_is_a_symptom() -> None:
    assert CannotOverfitBatch.role == "symptom"


def test_a_learned_batch_is_clean() -> None:
    assert judge(final=0.2, progress=0.9) == []
    assert judge(progress=0.4) == []  # the edge


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sole": False}, "the loss of the step has further terms, so its floor is not known"),
        ({"numbered": True}, "the labels number the rows of the batch: what their scores against each other can reach is not known"),
        ({"chance": 0.0005, "floor": 0.0}, "the targets of the batch are all equal, or its inputs tell nothing of them"),
        ({"weights": 159}, "too few weights to learn a batch by heart: 159 for 32 targets"),
    ],
)
def test_what_it_cannot_judge(changes: dict[str, Any], reason: str) -> None:
    assert not_run(CannotOverfitBatch(), probe__overfit={**STUCK, **changes}) == reason


def test_the_fewest_weights() -> None:
    assert len(judge(weights=160)) == 1
