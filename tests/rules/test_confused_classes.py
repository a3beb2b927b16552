from __future__ import annotations

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.confused_classes import ConfusedClasses
from diagnose.values import Finding


def judge(prediction: np.ndarray, classes: int = 6) -> list[Finding]:
    names = [f"c{i}" for i in range(classes)]
    record = evaluate_predictions(Record(), np.arange(len(prediction)) % classes, prediction, class_names=names).record
    return list(ConfusedClasses().judge(record))


def test_one_pair_takes_the_errors() -> None:
    target = np.arange(600) % 6
    (finding,) = judge(np.where((target == 2) & (np.arange(600) % 4 == 0), 5, target))
    assert finding.message == "50 of 50 errors on test are between c2 and c5 (100%)"
    assert finding.where == "test, c2 and c5"


def test_errors_everywhere_or_few_of_them() -> None:
    target, rng = np.arange(600) % 6, np.random.default_rng(0)
    assert judge(np.where(rng.random(600) < 0.3, rng.integers(0, 6, 600), target)) == []
    assert judge(np.where(np.arange(600) < 15, 5, target)) == []


def test_two_classes_are_always_one_pair() -> None:
    with pytest.raises(NotRun, match="three or more classes"):
        judge(np.zeros(100, dtype=int), classes=2)
