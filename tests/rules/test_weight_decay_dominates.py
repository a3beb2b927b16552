"""Rule T323: decay stronger than the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.weight_decay_dominates import WeightDecayDominates
from tests.rules.terms import divergence
from tests.rules.training import findings, training

LABELS = {name: ["a", "b"] for name in ("weight_norm__layers", "grad_norm__layers", "update_ratio__layers")} | {"lr": ["AdamW 0, group 0"]}


def decayed(decay: float, shrunk: float, *, decoupled: bool = False, update: float = 1e-2) -> Record:
    optimizer = {"name": "AdamW" if decoupled else "Adam", "lr": 1e-3, "weight_decay": decay, "decoupled": decoupled}
    sizes = np.linspace(4, 4 * shrunk, 30)
    return training(
        run={"optimizers": [optimizer]},
        labels=LABELS,
        weight_norm__layers=[[s, s / 4] for s in sizes],
        grad_norm__layers=[[0.1, 0.2]] * 30,
        update_ratio__layers=[[update, update]] * 30,
        lr=[[1e-3]] * 30,
    )


def test_decay_in_the_gradient_is_found() -> None:
    (found,) = findings(WeightDecayDominates(), decayed(1.0, 0.1))
    assert found.where == "weight_decay=1"
    assert found.evidence["force"] > 10


def test_decoupled_decay_is_found() -> None:
    assert len(findings(WeightDecayDominates(), decayed(20.0, 0.1, decoupled=True))) == 1


def test_updates_that_are_all_nan_say_nothing_of_decoupled_decay() -> None:
    outcome = run(WeightDecayDominates(), decayed(20.0, 0.1, decoupled=True, update=np.nan))
    assert outcome.reason == "no finite update of the weights was measured"


def test_ordinary_decay_is_healthy() -> None:
    assert findings(WeightDecayDominates(), decayed(1e-3, 0.9)) == ()
    assert findings(WeightDecayDominates(), decayed(0.01, 0.5, decoupled=True)) == ()


def test_weights_that_keep_their_size_are_healthy() -> None:
    assert findings(WeightDecayDominates(), decayed(1.0, 1.0)) == ()


def test_no_decay_is_healthy() -> None:
    assert findings(WeightDecayDominates(), decayed(0.0, 0.1)) == ()


def penalised(added: list[float], pull: float, shrunk: float = 0.1) -> Record:
    record = decayed(0.0, shrunk)
    record.add("probe.penalty", {"added": added, "losses": [9.0] * len(added), "data_gradient": 1.0, "added_gradient": pull})
    return record


def test_a_penalty_added_by_hand_is_found() -> None:
    (found,) = findings(WeightDecayDominates(), penalised([8.0, 8.0, 8.0], 12.0))
    assert found.evidence["force"] == 12.0
    assert "training_step" in found.where


def test_an_ordinary_penalty_is_healthy() -> None:
    assert findings(WeightDecayDominates(), penalised([0.1, 0.1, 0.1], 0.3)) == ()
    assert findings(WeightDecayDominates(), penalised([8.0, 8.0, 8.0], 12.0, shrunk=0.9)) == ()


def test_a_second_loss_that_changes_with_the_batch_is_no_penalty() -> None:
    assert findings(WeightDecayDominates(), penalised([8.0, 7.4, 8.3], 12.0)) == ()


def test_a_lesser_penalty_is_found_where_it_emptied_the_weights() -> None:
    assert len(findings(WeightDecayDominates(), penalised([8.0, 8.0, 8.0], 1.7, shrunk=0.1))) == 1
    assert findings(WeightDecayDominates(), penalised([8.0, 8.0, 8.0], 1.7, shrunk=0.5)) == ()


def costly(pull: float = 1.7, end: float = 1.0, whole: float = 0.9, alone: float = 0.3, shrunk: float = 0.5) -> Record:
    sizes = np.linspace(4, 4 * shrunk, 30)
    penalty = {"added": [8.0] * 3, "losses": [9.0] * 3, "data_gradient": 1.0, "added_gradient": pull}
    copies = {"whole": whole, "alone": alone, "chance": 1.4, "steps": 150}
    return training(
        facts={"probe.penalty": penalty, "probe.unpenalised": copies},
        labels=LABELS,
        weight_norm__layers=[[v, v / 4] for v in sizes],
        grad_norm__layers=[[0.1, 0.2]] * 30,
        train__watched_loss=[end] * 30,
    )


def test_what_a_lesser_penalty_costs_is_found() -> None:
    (found,) = findings(WeightDecayDominates(), costly())
    assert found.message == (
        "what training_step adds to the loss pulls 1.7 times as hard as the data, and the weights shrank to 50% of their size; the loss "
        "call ends at 1, that of a copy trained for 150 steps without the penalty at 0.3 on batches that it had not seen"
    )
    assert found.evidence["limit"] == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"alone": 1.2},  # without the penalty it would learn by heart
        {"end": 0.6},  # the run came there in the end
        {"whole": 0.6},
        {"pull": 0.4},
        {"shrunk": 0.8},
    ],
)
def test_a_penalty_that_costs_little_is_healthy(changes: dict[str, float]) -> None:
    assert findings(WeightDecayDominates(), costly(**changes)) == ()


def test_a_term_that_crowds_the_loss_out_is_found() -> None:
    def crowded(added: float, error: float, terms: tuple[float, ...] = (10.1, 9.9, 10.6)) -> Record:
        penalty = {"added": list(terms), "losses": [11.2, 11.0, 11.7], "data_gradient": 0.5, "added_gradient": added}
        facts: dict[str, Any] = {"probe.penalty": penalty, "task": {"loss": "mse_loss"}, "probe.step": {"calls": 2}}
        labels = {"weight_norm__layers": ["a"], "grad_norm__layers": ["a"]}
        steps: dict[str, Any] = {"weight_norm__layers": [[1.0]] * 20, "grad_norm__layers": [[1.0]] * 20}
        spread: dict[str, Any] = {"train__watched_loss": [error] * 20, "target__std": [1.0] * 20}
        return training([error] * 300, facts=facts, labels=labels, **steps, **spread)

    (found,) = findings(WeightDecayDominates(), crowded(65.0, 1.0))
    assert "pulls 130 times as hard as that in the first step" in found.message
    assert findings(WeightDecayDominates(), crowded(65.0, 0.5)) == ()
    assert findings(WeightDecayDominates(), crowded(2.0, 1.0)) == ()
    assert findings(WeightDecayDominates(), crowded(65.0, 1.0, terms=(11.088, 10.89, 11.583))) == ()  # the loss call times 100


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, 1),
        ({"pull": 9.0}, 0),
        ({"calls": 1}, 0),
        ({"adversary": "opposed targets"}, 0),
        ({"end": 0.6}, 0),  # it came there in the end
        ({"whole": 0.6}, 0),
        ({"alone": 0.9}, 0),
    ],
)
def test_a_second_task_in_other_units_is_found(changes: dict[str, Any], found: int) -> None:
    given = {"pull": 1000.0, "calls": 2, "adversary": "", "end": 1.2, "whole": 1.1, "alone": 0.3, **changes}
    penalty = {"added": [8e5, 1e6, 9e5], "losses": [8e5, 1e6, 9e5], "data_gradient": 1.0, "added_gradient": given["pull"]}
    facts: dict[str, Any] = {
        "probe.penalty": penalty,
        "probe.step": {"calls": given["calls"], "adversary": given["adversary"]},
        "probe.unpenalised": {"whole": given["whole"], "alone": given["alone"], "chance": 2.3, "floor": 0.0, "steps": 150},
        "task": {"loss": "cross_entropy"},
    }
    right: dict[str, Any] = {"train__accuracy": [0.6] * 20, "target__top_share": [0.1] * 20}
    steps: dict[str, Any] = {"weight_norm__layers": [[1.0]] * 20, "grad_norm__layers": [[1.0]] * 20}
    labels = {"weight_norm__layers": ["a"], "grad_norm__layers": ["a"]}
    record = training([9e5] * 300, facts=facts, labels=labels, **steps, **right, train__watched_loss=[given["end"]] * 20)
    said = findings(WeightDecayDominates(), record)
    assert len(said) == found
    assert all(
        f.message.endswith("ends at 1.2, that of a copy trained for 150 steps without the rest at 0.3 on batches that it had not seen")
        for f in said
    )


def test_a_single_term_of_the_batch_is_left_to_collapsed_embedding() -> None:
    record = Record()
    for name, fact in divergence().items():
        record.add(name, fact)
    assert run(WeightDecayDominates(), record).findings == ()
    record.facts["probe.step"]["calls"] = 2
    assert len(run(WeightDecayDominates(), record).findings) == 1
