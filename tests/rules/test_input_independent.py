from __future__ import annotations

from diagnose.rules.input_independent import InputIndependent
from diagnose.values import Severity
from tests.rules.probes import findings


def seen(swapped: float) -> dict[str, float]:
    return {"kept": 0.0, "swapped": swapped, "noise": 0.0, "samples": 32}


def test_outputs_that_never_change() -> None:
    (finding,) = findings(InputIndependent(), probe__dependence=seen(0.0))
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:20"
    assert finding.message == "the outputs stay the same when the samples are replaced by others"
    assert "follow one sample through forward" in finding.fix
    assert finding.evidence == {"change": 0.0, "limit": 1e-6}


def test_outputs_that_follow_their_input_are_clean() -> None:
    assert findings(InputIndependent(), probe__dependence=seen(2.7)) == []
    assert findings(InputIndependent(), probe__dependence=seen(2e-6)) == []


def test_what_is_thrown_away_is_named() -> None:
    names = ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "scale"]
    (finding,) = findings(InputIndependent(), probe__dependence={**seen(0.0), "unheard": names})
    assert finding.message == (
        "the outputs stay the same when the samples are replaced by others, and nothing that lstm, scale computes reaches them"
    )
    assert finding.fix == "use in forward what self.lstm returns"
    many = [f"m{i}.w" for i in range(6)]
    assert (
        "nothing that m0, m1, m2, m3 and 2 more computes"
        in findings(InputIndependent(), probe__dependence={**seen(0.0), "unheard": many})[0].message
    )
