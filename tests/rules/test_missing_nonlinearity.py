from __future__ import annotations

from diagnose.rules.missing_nonlinearity import MissingNonlinearity
from diagnose.values import Severity
from tests.rules.probes import findings


def lines(layers: int, *longest: str) -> dict[str, object]:
    return {"layers": layers, "nonlinear": 1, "longest": list(longest)}


def test_a_network_that_is_one_linear_map() -> None:
    (finding,) = findings(MissingNonlinearity(), probe__linearity=lines(2, "l1", "l2"))
    assert finding.severity is Severity.WARNING
    assert finding.where == "self.l1"
    assert finding.message == "all 2 layers l1, l2 follow each other without a nonlinearity, so they amount to one"
    assert finding.fix == "put an activation such as nn.ReLU() after self.l1"
    assert finding.evidence == {"layers": 2, "of": 2}


def test_a_run_inside_a_network() -> None:
    (finding,) = findings(MissingNonlinearity(), probe__linearity=lines(6, "b", "c", "d"))
    assert (finding.severity, finding.message[:9]) == (Severity.WARNING, "3 layers ")


def test_a_pair_inside_a_network_is_worth_knowing_only() -> None:
    (finding,) = findings(MissingNonlinearity(), probe__linearity=lines(4, "b", "c"))
    assert finding.severity is Severity.INFO


def test_a_trunk_and_heads_without_any_nonlinearity() -> None:
    (finding,) = findings(MissingNonlinearity(), probe__linearity={**lines(4, "trunk", "heads.0"), "nonlinear": 0})
    assert (finding.severity, finding.message[:9]) == (Severity.WARNING, "2 layers ")


def test_layers_with_activations_are_clean() -> None:
    assert findings(MissingNonlinearity(), probe__linearity=lines(4, "a")) == []
    assert findings(MissingNonlinearity(), probe__linearity=lines(0)) == []
    assert findings(MissingNonlinearity(), probe__linearity=lines(1, "only")) == []
