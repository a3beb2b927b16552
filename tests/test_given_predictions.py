"""Evaluation of predictions that are given, without a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record


def test_several_labels() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random((80, 3)) < 0.4).astype(int)
    probability = np.clip(target * 0.6 + rng.random((80, 3)) * 0.4, 0, 1)
    guess = (probability > 0.5).astype(int)
    found = evaluate_predictions(Record(), target, guess, probability)
    assert found.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(target, guess))
    assert found.metrics["macro_f1"] == pytest.approx(metrics.f1_score(target, guess, average="macro"))
    assert found.metrics["hamming_loss"] == pytest.approx(metrics.hamming_loss(target, guess))
    assert found.record.facts["evaluation"]["test"]["micro"]["f1"] == pytest.approx(metrics.f1_score(target, guess, average="micro"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([], []), "at least one"),
        (([0, 1], [0]), "as many predictions as targets"),
        (([0.0, float("nan")], [0.0, 1.0]), r"got target .*nan.* in row 1"),
        (([0, 1], [0, 1], [[0.5, 0.5]]), r"expected probabilities of shape \(2, 2\)"),
        (([0, 1], [0, 1], [[0.5, 0.5], [2.0, -1.0]]), r"got \[2.0, -1.0\] in row 1 \(counted from 0\), 1 such rows: apply softmax"),
        (([0.5, 1.5], [0, 1], [[0.5, 0.5], [0.5, 0.5]]), "expected class indices .* got float64 targets and int64 predictions"),
        (([0, 2], [0, 1], None, ["a", "b"]), "expected 3 class names, one per class, got 2"),
        (([0, 1, -1], [0, 1, 1]), r"expected class indices from 0, got target -1 in row 2 \(counted from 0\): leave out what has no label"),
    ],
)
def test_predictions_that_do_not_fit(arguments: tuple[Any, ...], text: str) -> None:
    target, prediction, probability, names = (*arguments, None, None)[:4]
    with pytest.raises(ValueError, match=text):
        evaluate_predictions(
            Record(), np.asarray(target), np.asarray(prediction), None if probability is None else np.asarray(probability), names
        )


def test_names_are_no_class_indices() -> None:
    with pytest.raises(ValueError, match=r"got prediction .*'cat'.*: number the classes and pass class_names"):
        evaluate_predictions(Record(), np.array([0, 1]), np.array(["cat", "dog"]))


def test_given_predictions_need_no_torch() -> None:
    code = (
        "import sys, numpy as np\nfrom diagnose.evaluation import evaluate_predictions\nfrom diagnose.record import Record\n"
        "y = np.arange(60) % 3\np = np.eye(3)[y] * 0.7 + 0.1\n"
        "print(evaluate_predictions(Record(), y, y, p).metrics['accuracy'])\n"
        "print({'torch', 'lightning', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["1.0", "set()"]
