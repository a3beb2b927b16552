from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.measure.embedding import project
from diagnose.record import Record
from diagnose.rules import NotRun, run
from diagnose.rules.collapsed_embedding import CollapsedEmbedding
from diagnose.values import Finding, Severity
from tests.rules.terms import divergence
from tests.rules.training import training

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 3
GOOD = RNG.normal(size=(3, 8))[LABELS] * 3 + RNG.normal(size=(120, 8))
NOISE = RNG.normal(size=(120, 8))


def judge(**layers: Any) -> list[Finding]:
    record = Record()
    record.add("embedding", {name: project(features, labels=LABELS).facts() for name, features in layers.items()})
    return list(CollapsedEmbedding().judge(record))


def test_a_constant_layer() -> None:
    (finding,) = judge(early=GOOD, late=np.full((120, 8), 0.5))
    assert (finding.message, finding.where) == ("gives the same 8 numbers for all 120 samples", "late")
    assert finding.severity is Severity.WARNING


def test_a_layer_that_has_lost_the_classes() -> None:
    (finding,) = judge(early=GOOD, late=NOISE)
    assert finding.where == "late"
    assert "while they agree in early" in finding.message


def test_an_early_layer_that_does_not_show_the_classes_yet() -> None:
    assert judge(early=NOISE, late=GOOD) == []


def test_a_line_without_classes() -> None:
    (finding,) = judge(late=np.outer(np.random.default_rng(5).normal(size=120), np.ones(8)))
    assert finding.message.startswith("all samples lie on a line")


def test_layers_that_carry_the_classes() -> None:
    assert judge(early=GOOD, late=GOOD @ RNG.normal(size=(8, 4))) == []
    assert judge(late=np.outer(LABELS + 0.1 * RNG.normal(size=120), np.ones(4))) == []


def test_a_signal_too_weak_for_any_layer() -> None:
    assert judge(early=NOISE, late=np.tanh(NOISE)) == []


def test_layers_that_cannot_be_judged() -> None:
    with pytest.raises(NotRun, match="no mapped layer has 50 samples and two features"):
        judge(single=RNG.normal(size=(120, 1)))


def trained(spread: float, loss: float, units: bool = True) -> Record:
    """A training in which the spread of the second activation and the loss end at these shares of what they were."""
    record = training([1.0] * 20 + [loss] * 100)
    record.label("activation/std", ["a", "b"])
    record.label("activation/dead", ["a", "b"])
    for step in range(12):
        values = [0.5, 0.1 if step < 6 else 0.1 * spread]
        record.append({"activation/std": values, "activation/dead": [0.0, 0.0 if units else math.nan]}, step=10 * step)
    return record


def test_what_collapses_while_the_loss_falls_to_nothing() -> None:
    (found,) = CollapsedEmbedding().judge(trained(0.01, 1e-5))
    assert found.where == "b"
    assert found.message.startswith(
        "what b gives has shrunk to 1.0% of the spread that it had at first, and the loss fell with it, to 1e-05"
    )


@pytest.mark.parametrize(("spread", "loss"), [(0.06, 1e-5), (0.01, 0.02)])
def test_what_keeps_its_spread_or_its_loss(spread: float, loss: float) -> None:
    assert "embedding was not recorded" in run(CollapsedEmbedding(), trained(spread, loss)).reason


@pytest.mark.parametrize(
    ("first", "last", "loss", "name", "count"),
    [
        (0.8, 0.001, "", "spread", 1),
        (0.8, 0.02, "", "spread", 0),
        (0.012, 0.005, "", "spread", 0),
        (0.8, 0.001, "cross_entropy", "spread", 0),
        (0.8, 0.001, "cross_entropy", "pairs", 1),  # beside a head that learns classes
        (0.8, 0.02, "cross_entropy", "pairs", 0),
    ],
)
def test_embeddings_that_point_all_the_same_way(first: float, last: float, loss: str, name: str, count: int) -> None:
    record = training([-0.01] * 20 + [-0.999] * 100, facts={"task": {"loss": loss}})
    for step in range(12):
        record.append({f"embedding/{name}": first if step < 4 else last}, step=10 * step)
    found = run(CollapsedEmbedding(), record).findings
    assert len(found) == count
    assert all(f.message.endswith("direction, is 0.001, 0.8 at first") and "stop the gradient" in f.fix for f in found)


def test_a_hinge_that_is_met_is_no_embedding() -> None:
    assert run(CollapsedEmbedding(), trained(0.01, 1e-5, units=False)).findings == ()


def test_a_training_that_was_cut_off_is_too_short_to_collapse() -> None:
    record = training([1.0, 1e-5])
    record.append({"activation/std": [0.1]}, step=0)
    assert run(CollapsedEmbedding(), record).findings == ()


@pytest.mark.parametrize(("loss", "first", "found"), [("", 0.1, 1), ("mse_loss", 0.1, 0), ("", 0.5, 0)])
def test_units_that_end_while_a_loss_that_compares_embeddings_falls_to_nothing(loss: str, first: float, found: int) -> None:
    record = training([1.0] * 20 + [1e-5] * 100, facts={"task": {"loss": loss}})
    record.label("activation/std", ["a"])
    record.label("activation/dead", ["a"])
    for step in range(12):
        record.append({"activation/std": [0.5], "activation/dead": [first if step < 5 else 0.9]}, step=10 * step)
    findings = run(CollapsedEmbedding(), record).findings
    assert len(findings) == found
    assert all(f.message.startswith("90% of the units of a have come to give the same for every sample, and the loss") for f in findings)


def test_copies_tell_before_training_what_a_term_crowds_out() -> None:
    def before(**changes: float) -> tuple[Finding, ...]:
        record = Record()
        for name, fact in divergence(**changes).items():
            record.add(name, fact)
        return run(CollapsedEmbedding(), record).findings

    (found,) = before()
    assert found.message == (
        "what training_step adds to its mse_loss pulls 4 times as hard as that in the first step, and in 150 steps a copy trained without "
        "it comes to 0.4 on batches that it had not seen, one trained with it to 1, a constant prediction to 1: all samples "
        "come to have one and the same code"
    )
    assert before(pull=0.9) == ()
    assert before(whole=0.9) == ()
    assert before(alone=0.7) == ()


@pytest.mark.parametrize(
    ("alone", "left", "error", "found"),
    [(0.7, 0.5, 1.0, 1), (0.9, 0.5, 1.0, 0), (0.9, 0.001, 1.0, 1), (0.9, 0.001, 0.9, 0), (0.7, 0.5, 0.9, 0)],
)
def test_what_crowds_out_little_by_little_is_told_by_copies_or_by_its_own_end(alone: float, left: float, error: float, found: int) -> None:
    terms = 0.2 * np.array([1.0] + [left] * 19)
    steps: dict[str, Any] = {"weight_norm__layers": [[1.0]] * 20, "grad_norm__layers": [[1.0]] * 20}
    seen: dict[str, Any] = {"train__watched_loss": [error] * 20, "target__std": [1.0] * 20}
    labels = {"weight_norm__layers": ["a"], "grad_norm__layers": ["a"]}
    record = training([error + t for t in terms], facts=divergence(alone=alone), labels=labels, **steps, **seen)
    assert len(run(CollapsedEmbedding(), record).findings) == found


@pytest.mark.parametrize(("spread", "found"), [(0.02, 1), (0.12, 0)])
def test_predictions_that_hardly_vary_have_gained_nothing_either(spread: float, found: int) -> None:
    penalty = {"added": [10.1, 9.9, 10.6], "losses": [11.2, 11.0, 11.7], "data_gradient": 0.5, "added_gradient": 65.0}
    facts: dict[str, Any] = {"probe.penalty": penalty, "task": {"loss": "binary_cross_entropy"}, "probe.step": {"calls": 1}}
    labels = {"weight_norm__layers": ["a"], "grad_norm__layers": ["a"]}
    steps: dict[str, Any] = {"weight_norm__layers": [[1.0]] * 20, "grad_norm__layers": [[1.0]] * 20}
    varied: dict[str, Any] = {"prediction__std": [spread] * 20, "target__std": [0.35] * 20}
    assert len(run(CollapsedEmbedding(), training([0.4] * 300, facts=facts, labels=labels, **steps, **varied)).findings) == found
