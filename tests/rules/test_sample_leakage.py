from __future__ import annotations

from diagnose.rules.sample_leakage import SampleLeakage
from diagnose.values import Severity
from tests.rules.probes import findings


def seen(kept: float, noise: float = 0.0) -> dict[str, float]:
    return {"kept": kept, "swapped": 2.0, "noise": noise, "samples": 32}


def test_outputs_that_depend_on_their_neighbours() -> None:
    (finding,) = findings(SampleLeakage(), probe__dependence=seen(0.7))
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:20"
    assert "outputs change by 0.7 standard deviations when only other samples of the batch change (limit 1e-03)" in finding.message
    assert "batch_first=True" in finding.fix
    assert finding.evidence == {"change": 0.7, "limit": 1e-3}


def test_independent_samples_are_clean() -> None:
    assert findings(SampleLeakage(), probe__dependence=seen(0.0)) == []
    assert findings(SampleLeakage(), probe__dependence=seen(1e-3)) == []


def test_noise_raises_the_limit() -> None:
    assert findings(SampleLeakage(), probe__dependence=seen(0.09, noise=0.01)) == []
    assert len(findings(SampleLeakage(), probe__dependence=seen(0.11, noise=0.01))) == 1
