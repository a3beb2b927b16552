from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.wrong_softmax_axis import WrongSoftmaxAxis
from diagnose.values import Severity
from tests.rules.probes import activation, findings, step

OVER_CLASSES = {"min": -4.0, "max": -0.1, "std": 1.0, "probabilities": False, "log_probabilities": True}
ELSEWHERE = {**OVER_CLASSES, "log_probabilities": False}


def judge(kind: str, values: dict[str, Any], *chain: dict[str, Any], **changes: Any) -> list[Any]:
    return findings(WrongSoftmaxAxis(), probe__step=step(kind=kind, head=list(chain), input=values, **changes))


def test_over_the_batch() -> None:
    (finding,) = judge("nll_loss", ELSEWHERE, activation("LogSoftmax", axis=0, shape=[32, 10]))
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:20"
    assert finding.message == "the logsoftmax runs over axis 0 of a tensor of shape (32, 10), the batch, instead of the classes"
    assert finding.fix == "set dim to the class axis: 1 for (N, C), -1 for (N, T, C)"
    assert finding.evidence == {"axis": 0}


def test_over_time() -> None:
    (finding,) = judge("nll_loss", ELSEWHERE, activation("LogSoftmax", axis=1, shape=[32, 7, 10]), input_shape=[32, 10, 7])
    assert "axis 1 of a tensor of shape (32, 7, 10), instead of the classes" in finding.message


@pytest.mark.parametrize("kind", ["mse_loss", "binary_cross_entropy", "kl_div"])
def test_over_the_batch_before_other_losses(kind: str) -> None:
    assert len(judge(kind, ELSEWHERE, activation("Softmax", axis=0, shape=[32, 10]))) == 1


@pytest.mark.parametrize(
    ("kind", "values", "chain", "changes"),
    [
        ("nll_loss", OVER_CLASSES, [activation("LogSoftmax", axis=1, shape=[32, 10])], {}),
        ("nll_loss", OVER_CLASSES, [activation("LogSoftmax", axis=2, shape=[32, 7, 10])], {"input_shape": [32, 10, 7]}),
        ("mse_loss", ELSEWHERE, [activation("Softmax", axis=0, shape=[10])], {"input_shape": [10]}),
        ("binary_cross_entropy", ELSEWHERE, [activation("Softmax", axis=1, shape=[32, 1])], {}),  # rule M201 speaks of it
        ("nll_loss", ELSEWHERE, [activation("LogSoftmax")], {}),  # the graph keeps no axis
        ("cross_entropy", ELSEWHERE, [], {}),
        ("ctc_loss", ELSEWHERE, [activation("LogSoftmax", axis=0, shape=[32, 10])], {}),
    ],
)
def test_over_the_classes_is_clean(kind: str, values: dict[str, Any], chain: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    assert judge(kind, values, *chain, **changes) == []
