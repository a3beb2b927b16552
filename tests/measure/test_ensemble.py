"""Means, votes, disagreement and their intervals against calculations by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from diagnose.measure.ensemble import disagreements, ensembled, entropy, votes
from diagnose.measure.paired import Predicted

A = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]])
B = np.array([[0.6, 0.3, 0.1], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
C = np.array([[0.3, 0.4, 0.3], [0.3, 0.3, 0.4], [0.45, 0.3, 0.25], [0.0, 0.5, 0.5]])
TARGET = np.array([0, 1, 1, 2])


def member(probability: np.ndarray) -> Predicted:
    loss = -np.log(np.maximum(probability[np.arange(4), TARGET], 1e-12))
    return Predicted(prediction=probability.argmax(1), probability=probability, loss=loss)


def three() -> list[Predicted]:
    return [member(p) for p in (A, B, C)]


def test_probabilities_are_averaged_and_classes_voted_for() -> None:
    made = ensembled("multiclass", TARGET, three(), ["a", "b", "c"], classes=3)
    by_name = {row["name"]: row for row in made.rows}
    # means of the rows: (.6, .267, .133), (.367, .333, .3), (.317, .483, .2), (.1, .233, .667)
    assert made.mean.prediction.tolist() == [0, 0, 1, 2]
    assert made.mean.probability is not None
    assert made.mean.probability[0].tolist() == pytest.approx([0.6, 0.8 / 3, 0.4 / 3])
    # votes 0,0,1 -> 0; 1,0,2 -> a tie, won by the mean probability of 0; 0,1,0 -> 0; 2,2,1 -> 2
    assert by_name["vote"]["metrics"]["accuracy"][0] == 0.5
    assert [by_name[n]["metrics"]["accuracy"][0] for n in ("a", "b", "c", "mean")] == [0.75, 0.75, 0.0, 0.75]
    assert by_name["mean"]["metrics"]["log_loss"][0] == pytest.approx(log_loss(TARGET, (A + B + C) / 3))
    assert by_name["a"]["metrics"]["log_loss"][0] == pytest.approx(log_loss(TARGET, A))
    assert [row["role"] for row in made.rows] == ["member"] * 3 + ["mean", "vote"]
    assert by_name["c"]["gain"]["accuracy"]["change"] == 0.75
    assert by_name["mean"]["gain"] == {}


def test_ties_go_to_the_higher_mean_probability_else_to_the_first_class() -> None:
    said = [np.array([2, 1]), np.array([0, 1]), np.array([1, 0])]
    assert votes(said).tolist() == [0, 1]
    assert votes(said, np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])).tolist() == [2, 1]


def test_entropy_of_the_mean_is_the_mean_entropy_and_what_the_members_tell() -> None:
    made = ensembled("multiclass", TARGET, three(), ["a", "b", "c"], classes=3).disagreement
    inner = np.mean([[-sum(p * math.log(p) for p in row if p) for row in own] for own in (A, B, C)])
    outer = np.mean([-sum(p * math.log(p) for p in row if p) for row in (A + B + C) / 3])
    assert made["expected_entropy"] == pytest.approx(inner)
    assert made["predictive_entropy"] == pytest.approx(outer)
    assert made["mutual_information"] == pytest.approx(outer - inner)
    alike = ensembled("multiclass", TARGET, [member(A)] * 3, ["a", "b", "c"], classes=3)
    assert alike.disagreement["mutual_information"] == pytest.approx(0, abs=1e-12)
    assert alike.disagreement["mean"] == 0.0
    assert alike.average["accuracy"] == {"value": 0.75, "change": 0.0, "low": 0.0, "high": 0.0}


def test_pairs_of_members_disagree_on_a_share_of_the_samples() -> None:
    made = ensembled("multiclass", TARGET, three(), ["a", "b", "c"], classes=3).disagreement
    # a: 0 1 0 2, b: 0 0 1 2, c: 1 2 0 1 (the first of equal probabilities)
    assert made["matrix"] == [[0.0, 0.5, 0.75], [0.5, 0.0, 1.0], [0.75, 1.0, 0.0]]
    assert made["mean"] == 0.75
    assert entropy(np.full((2, 4), 0.25)).tolist() == pytest.approx([math.log(4)] * 2)


def test_values_have_mean_spread_and_ambiguity() -> None:
    target = np.array([1.0, 2.0, 3.0])
    said = [np.array([1.0, 2.0, 5.0]), np.array([3.0, 2.0, 2.0])]
    made = ensembled("regression", target, [Predicted(prediction=p) for p in said], ["a", "b"])
    assert made.mean.prediction.tolist() == [2.0, 2.0, 3.5]
    by_name = {row["name"]: row["metrics"] for row in made.rows}
    assert by_name["mean"]["rmse"][0] == pytest.approx(math.sqrt((1 + 0 + 0.25) / 3))
    assert by_name["a"]["mae"][0] == pytest.approx(2 / 3)
    assert made.disagreement["spread"] == pytest.approx((math.sqrt(2) + 0 + 3 / math.sqrt(2)) / 3)
    # Krogh and Vedelsby: squared error of the mean = mean squared error of the members - ambiguity
    squares = [np.mean((p - target) ** 2) for p in said]
    assert by_name["mean"]["rmse"][0] ** 2 == pytest.approx(np.mean(squares) - made.disagreement["ambiguity"])
    assert disagreements(said, values=True)[0, 1] == pytest.approx(math.sqrt((4 + 0 + 9) / 3))


def test_the_interval_of_the_gain_over_the_average_member_is_paired() -> None:
    rng = np.random.default_rng(0)
    n, target = 2000, rng.integers(2, size=2000)
    hard = rng.random(n) < 0.3  # what is hard is hard for all: the difference is far surer than either accuracy
    members = []
    for _ in range(5):
        said = np.where(hard | (rng.random(n) < 0.05), 1 - target, target)
        members.append(Predicted(prediction=said, probability=np.eye(2)[said] * 0.8 + 0.1))
    made = ensembled("binary", target, members, list("abcde"), classes=2)
    found = made.average["accuracy"]
    right = np.stack([m.prediction == target for m in members])
    assert found["value"] == pytest.approx(right.mean())
    apart = (made.mean.prediction == target) - right.mean(0)
    assert found["change"] == pytest.approx(apart.mean())
    error = 1.96 * apart.std() / math.sqrt(n)
    assert (found["low"], found["high"]) == pytest.approx((apart.mean() - error, apart.mean() + error), abs=0.002)
    assert found["low"] > 0


def test_without_probabilities_there_is_a_vote_alone() -> None:
    members = [Predicted(prediction=p.argmax(1)) for p in (A, B, C)]
    made = ensembled("multiclass", TARGET, members, ["a", "b", "c"], classes=3)
    assert [row["name"] for row in made.rows] == ["a", "b", "c", "vote"]
    assert made.mean.prediction.tolist() == [0, 0, 0, 2]


def test_what_is_no_ensemble_is_refused() -> None:
    with pytest.raises(ValueError, match="an ensemble needs at least two members, got 1"):
        ensembled("multiclass", TARGET, three()[:1], ["a"], classes=3)
    with pytest.raises(ValueError, match="expected one class or values per sample, got several labels"):
        ensembled("multilabel", TARGET, three(), ["a", "b", "c"], classes=3)
