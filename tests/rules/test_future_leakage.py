from __future__ import annotations

from typing import Any

from diagnose.rules.future_leakage import FutureLeakage
from diagnose.values import Severity
from tests.rules.probes import findings

LEAKS: dict[str, Any] = {"changed": 0.8, "noise": 0.0, "position": 12, "shift": 1, "field": "batch[0]"}


def judge(**changes: Any) -> list[Any]:
    return findings(FutureLeakage(), probe__future={**LEAKS, **changes})


def test_outputs_that_see_later_steps() -> None:
    (finding,) = judge()
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:20"
    assert "outputs for the first 12 steps change by 0.8 standard deviations when only later steps of batch[0] change" in finding.message
    assert "causal mask" in finding.fix
    assert finding.evidence == {"change": 0.8, "limit": 1e-3, "shift": 1}


def test_windows_that_were_scaled_with_their_future() -> None:
    joint = {"by": "mean and deviation", "path": "batch[0]", "channel": 1, "rows": 900, "apart": 1.0}
    (finding,) = findings(FutureLeakage(), data__scaling=joint)
    assert "mean and deviation of batch[0], channel 1 and its target are the same in all of 900 rows" in finding.message
    assert "from its past alone" in finding.fix


def test_causal_models_are_clean() -> None:
    assert judge(changed=0.0) == []
    assert judge(changed=1e-3) == []


def test_noise_raises_the_limit() -> None:
    assert judge(changed=0.04, noise=0.005) == []
    assert len(judge(changed=0.06, noise=0.005)) == 1
