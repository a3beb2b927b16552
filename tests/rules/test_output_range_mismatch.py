from __future__ import annotations

from typing import Any

import pytest

from diagnose.experiments.loss_arguments import BOUNDS
from diagnose.rules.output_range_mismatch import RANGES, OutputRangeMismatch
from diagnose.values import Severity
from tests.rules.probes import activation, findings, step


def target(name: str, below: float = 0.0, above: float = 0.0, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
    zero = dict.fromkeys(RANGES, 0.0)
    return {"min": low, "max": high, "below": {**zero, name: below}, "above": {**zero, name: above}}


def judge(kind: str, name: str, **changes: Any) -> list[Any]:
    head = [activation(name, **changes.pop("more", {}))]
    return findings(OutputRangeMismatch(), probe__step=step(kind=kind, head=head, **changes))


def test_a_sigmoid_that_cannot_reach_the_targets() -> None:
    (finding,) = judge("mse_loss", "Sigmoid", target=target("Sigmoid", above=0.9, low=0.5, high=346.0))
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert "90% of the targets lie outside [0, 1], all that the sigmoid at the output can give; they go from 0.5 to 346" in finding.message
    assert finding.fix == "remove the sigmoid after the last layer, or scale the targets into its range"
    assert finding.evidence == {"share_outside": 0.9, "share": 0.02, "target_min": 0.5, "target_max": 346.0}


@pytest.mark.parametrize(("name", "text"), [("Relu", "[0, inf]"), ("Tanh", "[-1, 1]"), ("LogSigmoid", "[-inf, 0]")])
def test_other_activations(name: str, text: str) -> None:
    (finding,) = judge("l1_loss", name, target=target(name, below=0.3, above=0.3))
    assert f"60% of the targets lie outside {text}" in finding.message


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy_with_logits"])
def test_a_relu_on_logits(kind: str) -> None:
    (finding,) = judge(kind, "Relu")
    assert finding.message == f"a relu stands on the logits that {kind} gets, so no logit can be negative"
    assert finding.fix == "remove the relu after the last layer"


@pytest.mark.parametrize(("above", "count"), [(0.1, 1), (0.02, 0)])
def test_a_recurrent_layer_that_cannot_reach_the_targets(above: float, count: int) -> None:
    facts = step(kind="mse_loss", head=[], recurrent="output (LSTM)", target=target("Tanh", above=above, low=-0.9, high=3.0))
    found = findings(OutputRangeMismatch(), probe__step=facts)
    assert [f.fix for f in found] == ["put a linear layer behind it, or scale the targets into its range"] * count
    assert all("10% of the targets lie outside [-1, 1], all that output (LSTM) can give" in f.message for f in found)


def test_what_can_be_reached_is_clean() -> None:
    assert judge("mse_loss", "Sigmoid", target=target("Sigmoid")) == []
    assert judge("mse_loss", "Relu", target=target("Relu", below=0.02)) == []  # outliers, at the edge
    assert judge("mse_loss", "Tanh", target=target("Tanh", above=1.0), more={"scaled": True}) == []
    assert judge("mse_loss", "Gelu", target=target("Tanh", above=1.0)) == []
    assert judge("cross_entropy", "Tanh") == []
    assert findings(OutputRangeMismatch(), probe__step=step(kind="mse_loss", target=target("Sigmoid"))) == []


def test_the_rule_and_the_probe_know_the_same_activations() -> None:
    assert set(RANGES) == set(BOUNDS)
