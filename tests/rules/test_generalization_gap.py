from __future__ import annotations

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.generalization_gap import GeneralizationGap
from diagnose.values import Finding


def judge(wrong: int, names: tuple[str, str] = ("train", "test"), n: int = 400) -> list[Finding]:
    record, target = Record(), np.arange(n) % 4
    evaluate_predictions(record, target, target, loader=names[0])
    evaluate_predictions(record, target, np.where(np.arange(n) < wrong, (target + 1) % 4, target), loader=names[1])
    return list(GeneralizationGap().judge(record))


def test_much_better_on_training_data() -> None:
    (finding,) = judge(120)
    assert finding.message == "accuracy is 1 on the training data and 0.7 on test"


def test_training_data_measured_beside() -> None:
    record, target = Record(), np.arange(400) % 4
    evaluate_predictions(record, target, target, loader="test")
    record.add("evaluation.train", record.facts["evaluation"]["test"])
    evaluate_predictions(record, target, np.where(np.arange(400) < 120, (target + 1) % 4, target), loader="test")
    (finding,) = GeneralizationGap().judge(record)
    assert finding.message == "accuracy is 1 on the training data and 0.7 on test"


def test_alike_or_not_to_be_told_apart() -> None:
    assert judge(20) == []
    assert judge(2, n=12) == []


def test_values() -> None:
    record, target = Record(), np.random.default_rng(0).normal(size=300)
    evaluate_predictions(record, target, target, loader="train")
    evaluate_predictions(record, target, target * 0.2, loader="test")
    assert "R² is 1 on the training data" in next(iter(GeneralizationGap().judge(record))).message


def test_training_data_were_not_evaluated() -> None:
    with pytest.raises(NotRun, match="pass loaders named train and test"):
        judge(120, ("val", "test"))
