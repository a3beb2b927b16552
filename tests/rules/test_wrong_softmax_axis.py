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


def test_scores_that_a_view_brought_into_shape() -> None:
    (finding,) = judge("cross_entropy", ELSEWHERE, units=6, input_shape=[40, 6, 12], target_shape=[40, 12])
    assert (finding.severity, finding.where) == (Severity.ERROR, "model.py:31")
    assert "scores of shape (40, 6, 12) that cross_entropy gets are those of a layer of 6 units" in finding.message
    assert finding.fix == "use movedim(-1, 1) on the scores, or transpose(1, 2) for (N, T, C), instead of view or reshape"
    assert finding.evidence == {"units": 6}
    (image,) = judge("nll_loss", ELSEWHERE, units=3, input_shape=[8, 3, 16, 16], target_shape=[8, 16, 16])
    assert "(8, 3, 16, 16)" in image.message


@pytest.mark.parametrize(
    ("units", "shape"),
    [
        (None, [40, 6, 12]),  # transposed
        (72, [40, 6, 12]),  # one layer gives all positions
        (2, [40, 12, 2]),  # two questions, each to all positions: the positions are the classes
        (6, [40, 6, 6]),
        (6, [40, 6, 1]),
    ],
)
def test_scores_whose_classes_are_on_the_second_axis_are_clean(units: int | None, shape: list[int]) -> None:
    assert judge("cross_entropy", ELSEWHERE, units=units, input_shape=shape, target_shape=[shape[0], shape[2]]) == []


def test_scores_of_other_losses_have_no_axis_of_classes() -> None:
    assert judge("mse_loss", ELSEWHERE, units=6, input_shape=[40, 6, 12], target_shape=[40, 6, 12]) == []
    assert judge("cross_entropy", ELSEWHERE, units=10, input_shape=[32, 10], target_shape=[32]) == []


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


def test_inside_over_one_score() -> None:
    (finding,) = findings(WrongSoftmaxAxis(), probe__step=step(lone_softmax=[32, 40, 1]))
    assert finding.severity is Severity.ERROR
    assert finding.message == (
        "a softmax runs over an axis of one element of a tensor of shape (32, 40, 1): it gives 1 whatever the score, and the layer before "
        "it gets no gradient"
    )
    assert "1 for scores of shape (N, T, 1)" in finding.fix
    head = [activation("Softmax", axis=1, shape=[32, 1])]
    assert findings(WrongSoftmaxAxis(), probe__step=step(lone_softmax=[32, 1], head=head)) == []  # activation-loss-mismatch speaks
