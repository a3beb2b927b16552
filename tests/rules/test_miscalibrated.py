from __future__ import annotations

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.miscalibrated import Miscalibrated
from diagnose.values import Finding, Severity


def judge(sharpness: float, n: int) -> list[Finding]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 4)) * 1.5
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = (probability.cumsum(1) < rng.random((n, 1))).sum(1)
    said = probability**sharpness / (probability**sharpness).sum(1, keepdims=True)
    return list(Miscalibrated().judge(evaluate_predictions(Record(), target, said.argmax(1), said).record))


def test_too_sure_and_too_unsure() -> None:
    (sure,) = judge(4.0, 3000)
    assert sure.message.endswith("the model is too sure")
    assert sure.severity is Severity.INFO
    assert sure.fix.startswith("divide the logits by a temperature that is fitted on validation data; on these samples it is 4")
    (unsure,) = judge(0.3, 3000)
    assert unsure.message.endswith("the model is too unsure")


@pytest.mark.parametrize("n", [30, 300, 5000])
def test_true_probabilities(n: int) -> None:
    assert judge(1.0, n) == []


def test_without_probabilities() -> None:
    record = evaluate_predictions(Record(), np.arange(9) % 3, np.arange(9) % 3).record
    with pytest.raises(NotRun, match="no evaluated loader has probabilities"):
        list(Miscalibrated().judge(record))
