"""Rule T313: layers that never change."""

from __future__ import annotations

from diagnose.record import Record
from diagnose.rules.frozen_parameter import FrozenParameter
from tests.rules.training import findings, training

LABELS = {"update_ratio__layers": ["a", "b"], "grad_norm__layers": ["a", "b"]}


def record(ratio: float, norm: float) -> Record:
    return training(labels=LABELS, update_ratio__layers=[[ratio, 1e-3]] * 10, grad_norm__layers=[[norm, 0.1]] * 10)


def test_a_layer_that_stands_still_is_found() -> None:
    (found,) = findings(FrozenParameter(), record(0.0, 0.3))
    assert found.where == "a"


def test_a_layer_without_any_gradient_is_left_to_another_rule() -> None:
    assert findings(FrozenParameter(), record(0.0, float("nan"))) == ()


def test_a_layer_that_moves_is_healthy() -> None:
    assert findings(FrozenParameter(), record(1e-6, 0.3)) == ()
