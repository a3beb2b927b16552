from __future__ import annotations

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.small_test_set import SmallTestSet
from diagnose.values import Finding, Severity


def judge(n: int) -> list[Finding]:
    target = np.arange(n) % 2
    return list(SmallTestSet().judge(evaluate_predictions(Record(), target, np.where(np.arange(n) % 5 == 0, 1 - target, target)).record))


def test_a_hundred_samples_are_few() -> None:
    (finding,) = judge(100)
    assert finding.message == "accuracy on test is 0.8, 95 % interval 0.711 to 0.867, from 100 samples"
    assert finding.fix == "evaluate on about 242 samples"
    assert finding.severity is Severity.INFO


def test_two_thousand_are_enough() -> None:
    assert judge(2000) == []


def test_without_an_interval() -> None:
    record = Record()
    record.add("evaluation", {"test": {"task": "multiclass", "n": 10, "accuracy": 0.5}})
    with pytest.raises(NotRun, match="no evaluated loader has an interval"):
        list(SmallTestSet().judge(record))
