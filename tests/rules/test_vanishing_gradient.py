"""Rule T302: gradients that shrink towards the input."""

from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.vanishing_gradient import VanishingGradient
from tests.rules.playing import game
from tests.rules.training import falling, findings, not_run, training

LAYERS = {"grad_norm__layers": ["a", "b", "c", "d"], "update_ratio__layers": ["a", "b", "c", "d"]}


def deep(first: float, loss: list[float], update: float = 1e-6, right: float | None = None) -> Record:
    known: dict[str, Any] = {} if right is None else {"train__accuracy": [right] * 20, "target__top_share": [0.1] * 20}
    norms = [[first, 1e-3, 1e-2, 0.6]] * 20
    return training(loss, labels=LAYERS, grad_norm__layers=norms, update_ratio__layers=[[update, 1e-3, 1e-3, 1e-2]] * 20, **known)


def test_a_first_layer_without_gradient_is_found() -> None:
    (found,) = findings(VanishingGradient(), deep(1e-4, [2.3] * 300))
    assert found.where == "a"
    assert found.evidence["ratio"] < 1e-3


def test_a_network_that_learns_is_healthy() -> None:
    assert findings(VanishingGradient(), deep(1e-4, falling(2.3, 0.2))) == ()


def test_equal_gradients_are_healthy() -> None:
    assert findings(VanishingGradient(), deep(0.1, [2.3] * 300)) == ()


def test_an_adaptive_optimizer_that_moves_the_first_layer_is_healthy() -> None:
    assert findings(VanishingGradient(), deep(1e-4, [2.3] * 300, update=1e-3)) == ()


def test_an_adaptive_optimizer_in_vain_is_found() -> None:
    assert len(findings(VanishingGradient(), deep(2e-5, [2.3] * 300, update=1e-3, right=0.11))) == 1
    assert findings(VanishingGradient(), deep(2e-5, falling(2.3, 1.0), update=1e-3, right=0.11)) == ()
    assert findings(VanishingGradient(), deep(2e-5, [2.3] * 300, update=1e-3, right=0.4)) == ()


def test_few_steps_are_too_short() -> None:
    record = training([2.3] * 40, labels=LAYERS, grad_norm__layers=[[1.0, 1.0, 1.0, 1.0]] * 4)
    assert not_run(VanishingGradient(), record).startswith("too short: 4 measured steps")


def in_time(loss: list[float], update: float = 1e-3, **changes: Any) -> Record:
    entry = {"name": "rnn", "kind": "RNN", "steps": 90, "reach": 1e-20, **changes}
    labels = {**LAYERS, "update_ratio__layers": ["rnn"]}
    norms, updates = [[0.1, 0.1, 0.1, 0.6]] * 20, [[update]] * 20
    return training(loss, facts={"probe.recurrence": [entry]}, labels=labels, grad_norm__layers=norms, update_ratio__layers=updates)


def test_a_recurrence_that_the_gradient_does_not_pass_is_found_where_nothing_is_learned() -> None:
    (found,) = findings(VanishingGradient(), in_time([1.39] * 300))
    assert found.where == "rnn"
    assert "over 90 time steps, and the loss does not fall" in found.message
    assert len(findings(VanishingGradient(), in_time([1.39] * 300, kind="LSTM"))) == 1


def test_a_recurrence_that_begins_to_learn_at_the_end_is_found() -> None:
    late = [1.39 - 0.001 * max(0, n - 300) + 0.005 * (-1) ** n for n in range(450)]
    (found,) = findings(VanishingGradient(), in_time(late))
    assert "the loss hardly falls" in found.message


def test_a_recurrence_that_learns_or_reaches_far_or_hardly_moves_is_left_alone() -> None:
    assert findings(VanishingGradient(), in_time(falling(1.39, 0.5))) == ()
    assert findings(VanishingGradient(), in_time([1.39] * 300, reach=1e-5)) == ()
    assert findings(VanishingGradient(), in_time([1.39] * 300, steps=19)) == ()
    assert findings(VanishingGradient(), in_time([1.39] * 300, update=1e-5)) == ()
    assert findings(VanishingGradient(), in_time([1.39] * 60)) == ()


def test_a_step_without_any_gradient_is_passed_over() -> None:
    norms = [[1e-4, 1e-3, 1e-2, 0.6]] * 19 + [[0.0] * 4]
    updates = [[1e-6, 1e-3, 1e-3, 1e-2]] * 20
    record = training([2.3] * 300, labels=LAYERS, grad_norm__layers=norms, update_ratio__layers=updates)
    assert findings(VanishingGradient(), record)[0].where == "a"


def test_of_two_players_the_one_that_lost_and_gets_no_gradient_is_found() -> None:
    losses = [-0.6] * 10 + [-1e-6] * 30, [1.3] * 10 + [0.0] * 30
    (found,) = findings(VanishingGradient(), game(pulls=[0.3] * 10 + [1e-6] * 30, losses=losses))
    assert found.where == "maker (Adam 0)"
    assert "log(1 - D(G(z)))" in found.fix


def test_a_player_that_lost_and_still_gets_a_gradient_or_won_is_no_fault() -> None:
    lost, won = [0.6] * 10 + [9.0] * 30, [0.6] * 10 + [0.0] * 30
    assert "several optimizers" in not_run(VanishingGradient(), game(pulls=[0.3] * 10 + [5.0] * 30, losses=(lost, won)))
    assert "several optimizers" in not_run(VanishingGradient(), game(pulls=[0.3] * 10 + [1e-6] * 30, losses=(won, lost)))


def fading(*changes: float) -> Record:
    """Before training: what each layer gives changes by so much with its sample."""
    record = Record()
    record.add("probe.fading", [{"name": f"layer{i}", "change": change} for i, change in enumerate(changes)])
    return record


def test_what_samples_differ_in_gets_lost_little_by_little() -> None:
    (found,) = findings(VanishingGradient(), fading(*(10.0**-i for i in range(8))))
    assert found.where == "layer0"
    assert found.message.startswith(
        "what the samples differ in shrinks from 1 of what layer0 gives to 1e-07 of what layer7 gives, little by"
    )
    assert len(findings(VanishingGradient(), fading(*(10.0**-i for i in range(8)), 0.0))) == 1  # below the precision in the end


@pytest.mark.parametrize(
    "changes",
    [
        [1.0, 0.5, 0.4, 0.3, 1e-7, 1e-7, 1e-7],  # in one place
        [1.0, 0.5, 0.4, 0.3, 0.2, 0.2, 0.0],  # a last layer that starts at zero
        [1.0, 1e-2, 1e-4, 1e-6, 1e-8],  # in few layers
        [1e-6, 8e-7, 6e-7, 5e-7, 4e-7, 3e-7],  # never there: inputs far away from zero
    ],
)
def test_what_samples_differ_in_gets_lost_otherwise(changes: list[float]) -> None:
    assert "grad_norm/layers was not recorded" in run(VanishingGradient(), fading(*changes)).reason
