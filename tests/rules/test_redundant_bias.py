from __future__ import annotations

from diagnose.rules.redundant_bias import RedundantBias
from diagnose.values import Severity
from tests.rules.probes import findings


def norms(*biases: str) -> list[dict[str, object]]:
    return [{"name": f"bn{i}", "values": 64, "bias_before": b, "batch_norm": True} for i, b in enumerate(biases)]


def test_a_bias_that_is_cancelled() -> None:
    (finding,) = findings(RedundantBias(), probe__norms=norms("conv2", "", "conv1", "conv1"))
    assert finding.severity is Severity.INFO
    assert finding.where == "self.conv1"
    assert finding.message == "the bias of conv1, conv2 is cancelled by the norm that follows"
    assert finding.fix == "build the layer with bias=False"
    assert finding.evidence == {"layers": 2}


def test_many_are_cut_short() -> None:
    (finding,) = findings(RedundantBias(), probe__norms=norms(*(f"c{i}" for i in range(6))))
    assert "the bias of c0, c1, c2, c3 and 2 more is cancelled" in finding.message


def test_norms_without_a_bias_before_them_are_clean() -> None:
    assert findings(RedundantBias(), probe__norms=norms("", "")) == []
    assert findings(RedundantBias(), probe__norms=[]) == []
