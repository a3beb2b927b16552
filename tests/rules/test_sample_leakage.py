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


def joined(parts: int) -> dict[str, object]:
    return {"path": "batch[1]", "pairs": 448, "named": 12, "samples": 32, "parts": parts, "largest": 12, "batches": 24}


def test_pairs_of_nodes_that_are_numbered_in_their_own_graph() -> None:
    (finding,) = findings(SampleLeakage(), probe__joined=joined(36))
    assert (
        "the 448 pairs in batch[1] name the first 12 of 36 nodes alone, no more than the largest of 32 samples has (12)" in finding.message
    )
    assert finding.evidence == {"named": 12, "parts": 36, "largest": 12, "limit": 3.0}
    assert findings(SampleLeakage(), probe__joined=joined(35), probe__dependence=seen(0.0)) == []
