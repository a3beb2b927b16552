from __future__ import annotations

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.label_errors import LabelErrors
from diagnose.values import Finding


def judge(target: np.ndarray, probability: np.ndarray) -> list[Finding]:
    record = Record()
    record.save_array("test/target", target)
    record.save_array("test/probability", probability.astype(np.float32))
    return list(LabelErrors().judge(record))


def sure(target: np.ndarray, top: float) -> np.ndarray:
    return np.where(np.eye(3)[target] > 0, top, (1 - top) / 2)


def test_labels_that_were_changed_are_found() -> None:
    truth = np.arange(300) % 3
    labels = truth.copy()
    labels[[7, 40, 299]] = (truth[[7, 40, 299]] + 1) % 3
    (finding,) = judge(labels, sure(truth, 0.99))
    assert finding.where == "samples 7, 40, 299"
    assert finding.message.startswith("3 of 300 test labels are contradicted with a probability of 0.95 or more, 3 of them among")


def test_errors_where_the_model_is_less_sure_than_usual_are_its_own() -> None:
    truth = np.arange(300) % 3
    labels = truth.copy()
    labels[[7, 40, 299]] = (truth[[7, 40, 299]] + 1) % 3
    top = np.where(labels == truth, 0.999, 0.96)[:, None]
    assert judge(labels, np.where(np.eye(3)[truth] > 0, top, (1 - top) / 2)) == []


def test_right_labels_and_unsure_models() -> None:
    truth = np.arange(300) % 3
    assert judge(truth, sure(truth, 0.99)) == []
    labels = np.where(np.arange(300) == 7, 0, truth)
    assert judge(labels, sure(truth, 0.7)) == []


def test_a_bad_model_doubts_nothing() -> None:
    truth = np.arange(300) % 3
    with pytest.raises(NotRun, match="an accuracy of 0 is too low to doubt labels"):
        judge(truth, sure((truth + 1) % 3, 0.99))
    with pytest.raises(NotRun, match="do not have one class each"):
        judge(truth.astype(float), sure(truth, 0.9))
