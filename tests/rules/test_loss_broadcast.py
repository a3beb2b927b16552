from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.loss_broadcast import LossBroadcast
from diagnose.values import Severity
from tests.rules.probes import findings, step


def judge(broadcast: Any) -> list[Any]:
    return findings(LossBroadcast(), probe__step=step(broadcast=broadcast))


def test_a_column_against_a_row() -> None:
    (finding,) = judge([[32, 1], [32]])
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert finding.message == "predictions of shape (32, 1) are compared with targets of shape (32,): they are broadcast against each other"
    assert finding.fix == "give both the same shape: predictions.squeeze(-1) or targets.unsqueeze(-1)"


def test_other_shapes() -> None:
    (finding,) = judge([[32, 4, 1], [32, 4, 6]])
    assert "(32, 4, 1)" in finding.message
    assert finding.fix == "give both the same shape before the loss"


@pytest.mark.parametrize("broadcast", [None, []])
def test_equal_shapes_are_clean(broadcast: Any) -> None:
    assert judge(broadcast) == []
