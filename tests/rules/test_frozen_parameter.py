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


def test_a_layer_whose_rate_holds_it_back_is_found() -> None:
    (found,) = findings(FrozenParameter(), record(1e-8, 0.05))
    assert found.where == "a"
    assert found.evidence["update"] == 1e-8


def test_a_slow_layer_with_a_vanishing_gradient_is_left_to_another_rule() -> None:
    assert findings(FrozenParameter(), record(1e-8, 1e-4)) == ()


def test_rates_that_decay_from_layer_to_layer_are_healthy() -> None:
    assert findings(FrozenParameter(), record(4e-6, 0.05)) == ()  # 300 steps move it by more than a thousandth
