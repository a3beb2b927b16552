from __future__ import annotations

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.weak_slice import WeakSlice
from diagnose.values import Finding


def judge(wrong: int, n: int = 400) -> list[Finding]:
    target = np.arange(n) % 4
    prediction = target.copy()
    prediction[np.flatnonzero(target == 2)[:wrong]] = 0
    return list(WeakSlice().judge(evaluate_predictions(Record(), target, prediction, class_names=list("abcd")).record))


def test_one_class_is_hard() -> None:
    (finding,) = judge(40)
    assert finding.message == "60% of the 100 samples of class c are recognised, 100% of the others"
    assert finding.where == "test, class c"


def test_a_little_harder_or_too_small() -> None:
    assert judge(15) == []
    assert judge(8, n=60) == []


def test_values_have_no_classes() -> None:
    with pytest.raises(NotRun, match="no evaluated loader has classes"):
        list(WeakSlice().judge(evaluate_predictions(Record(), np.arange(9.0), np.arange(9.0)).record))
