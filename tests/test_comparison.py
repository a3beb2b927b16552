from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from diagnose.comparison import compare, judge
from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.values import Severity, Status

RNG = np.random.default_rng(5)
TARGET = RNG.integers(0, 3, 300)


def run(wrong: int, *, target: np.ndarray = TARGET, config: Any = None, **more: Any) -> Record:
    record = Record()
    prediction = target.copy()
    prediction[:wrong] = (prediction[:wrong] + 1) % 3
    probability = np.full((len(target), 3), 0.1)
    probability[np.arange(len(target)), prediction] = 0.8
    evaluate_predictions(record, target, prediction, probability, **{"class_names": ["a", "b", "c"], **more})
    record.add("config", config or {})
    return record


def test_a_worse_run_is_an_error_that_speaks_for_its_other_metrics() -> None:
    found = compare(run(10), run(40), names=("main", "mine"))
    entry = found["loaders"]["test"]
    assert (entry["paired"], entry["reason"], entry["n"]) == (True, "", [300, 300])
    assert entry["differences"][0]["metric"] == "accuracy"
    assert entry["changes"] == {"lost": 30, "won": 0, "both_right": 260, "both_wrong": 10, "agree": 270}
    assert entry["moved"] == 30
    assert entry["samples"][0]["target"] == entry["samples"][0]["prediction"][0]
    diagnosis = judge(found)
    (finding,) = diagnosis.findings
    assert (finding.code, finding.severity) == ("C601", Severity.ERROR)
    assert finding.message.startswith("mine is worse than main: accuracy went from 0.9667 to 0.8667, by -0.1")
    assert {o.explained_by for o in diagnosis.outcomes if o.status is Status.FOUND} == {"", "C601"}
    assert judge(found, margin=0.2).findings == ()
    json.dumps(found, allow_nan=False)


def test_a_better_run_and_an_equal_one_pass() -> None:
    for second, said in ((run(0), "better"), (run(10), "no difference shown")):
        found = compare(run(10), second)
        assert judge(found).at_or_above("error") == ()
        assert said in judge(found).outcomes[0].reason


def test_other_test_sets_are_compared_without_pairs() -> None:
    for target, reason in (
        (TARGET[:200], "The test sets differ: 300 samples against 200."),
        (np.roll(TARGET, 1), "samples are others, or stand in another order."),
    ):
        entry = compare(run(10), run(150, target=target))["loaders"]["test"]
        assert not entry["paired"]
        assert reason in entry["reason"]
        assert entry["differences"][0]["verdict"] == "worse"
        assert "samples" not in entry


def test_names_of_samples_pair_them() -> None:
    ids = np.array([f"s{i}" for i in range(300)])
    order = RNG.permutation(300)[:250]
    first, second = Record(), Record()
    prediction = np.where(np.arange(300) < 20, (TARGET + 1) % 3, TARGET)
    evaluate_predictions(first, TARGET, prediction, ids=ids)
    evaluate_predictions(second, TARGET[order], TARGET[order], ids=ids[order])
    entry = compare(first, second)["loaders"]["test"]
    assert (entry["paired"], entry["n"]) == (True, [250, 250])
    assert entry["reason"] == "The 250 samples that both know are compared, 50 are left out."
    assert entry["changes"]["won"] == int((order < 20).sum())
    assert {s["sample"] for s in entry["samples"]} == {f"s{i}" for i in order if i < 20}
    second.save_array("test/target", (TARGET[order] + 1) % 3)
    assert compare(first, second)["loaders"]["test"]["reason"] == "Samples of the same name have other targets."


def test_classes_in_another_order_are_the_same_classes() -> None:
    other = Record()
    place = np.array([2, 0, 1])
    probability = np.full((300, 3), 0.1)
    probability[np.arange(300), place[TARGET]] = 0.8
    evaluate_predictions(other, place[TARGET], place[TARGET], probability, class_names=["b", "c", "a"])
    entry = compare(run(0), other)["loaders"]["test"]
    assert entry["paired"]
    assert {d["metric"]: d["change"] for d in entry["differences"]} == pytest.approx(
        {d["metric"]: 0 for d in entry["differences"]}, abs=1e-6
    )


def test_what_cannot_be_compared_is_said() -> None:
    values = Record()
    evaluate_predictions(values, np.arange(9.0), np.arange(9.0))
    assert compare(run(1), values)["loaders"]["test"]["refused"] == "A is a multiclass model, B is a regression model".replace(
        "B is a regression", "B a regression"
    )
    named = run(1, class_names=["a", "b", "d"])
    assert compare(run(1), named)["loaders"]["test"]["refused"].startswith("the classes differ: ")
    outcome = judge(compare(run(1), named)).outcomes[0]
    assert (outcome.status, outcome.code) == (Status.NOT_RUN, "C600")
    (outcome,) = judge(compare(run(1), run(1, loader="other"))).outcomes
    assert outcome.reason == "the runs evaluated no loader of the same name"
    assert compare(run(1), run(1, loader="other"))["only"] == [["test"], ["other"]]
    bare = run(1)
    bare.arrays.clear()
    assert compare(run(1), bare)["loaders"]["test"]["reason"] == "The predictions of the samples were not kept."


def test_keys_that_changed_are_listed() -> None:
    one = {"seed": 1, "optimizer": {"lr": 0.1, "name": "adam"}, "output_dir": "x"}
    other = {"seed": 1, "optimizer": {"lr": 0.2, "name": "adam"}, "output_dir": "y", "extra": [1]}
    found = compare(run(0, config=one), run(0, config=other))
    assert found["config"] == [["extra", None, [1]], ["optimizer.lr", 0.1, 0.2]]


def test_values_are_paired() -> None:
    y = RNG.normal(size=80)
    first, second = Record(), Record()
    evaluate_predictions(first, y, y + 0.1)
    evaluate_predictions(second, y, np.where(np.arange(80) < 5, y + 3, y + 0.1))
    entry = compare(first, second)["loaders"]["test"]
    assert entry["differences"][0]["metric"] == "rmse"
    assert entry["moved"] == 5
    assert judge(compare(first, second)).findings[0].code == "C613"
