from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.activation_loss_mismatch import ActivationLossMismatch
from diagnose.values import Severity
from tests.rules.probes import activation, findings, outcome, step

RULE = ActivationLossMismatch()
WITHIN_ONE = {"min": 0.02, "max": 0.4, "std": 0.1, "probabilities": True, "log_probabilities": False}
LOG = {"min": -4.0, "max": -0.1, "std": 1.0, "probabilities": False, "log_probabilities": True}
RAW = {"min": -2.0, "max": 3.0, "std": 1.0, "probabilities": False, "log_probabilities": False}


def judge(kind: str, *chain: dict[str, Any], values: dict[str, Any] = RAW) -> list[Any]:
    return findings(RULE, probe__step=step(kind=kind, head=list(chain), input=values))


def test_softmax_before_cross_entropy() -> None:
    (finding,) = judge("cross_entropy", activation("Softmax", axis=1, shape=[32, 10]), values=WITHIN_ONE)
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert finding.message == "cross_entropy applies log-softmax itself, but gets the output of a softmax, in [0.02, 0.4]"
    assert finding.fix == "remove the softmax before the loss: cross_entropy wants raw logits"
    assert finding.evidence == {"lowest": 0.02, "highest": 0.4}


def test_sigmoid_before_bce_with_logits() -> None:
    (finding,) = judge("binary_cross_entropy_with_logits", activation("Sigmoid"), values=WITHIN_ONE)
    assert "binary_cross_entropy_with_logits applies a sigmoid itself, but gets the output of a sigmoid" in finding.message
    assert "binary_cross_entropy with a sigmoid" in finding.fix


@pytest.mark.parametrize(("values", "form"), [(RAW, "raw scores"), (WITHIN_ONE, "probabilities")])
@pytest.mark.parametrize("kind", ["nll_loss", "kl_div"])
def test_not_log_probabilities(kind: str, values: dict[str, Any], form: str) -> None:
    (finding,) = judge(kind, values=values)
    assert f"{kind} wants log-probabilities, but gets {form}" in finding.message
    assert "log_softmax over the classes" in finding.fix


def test_raw_scores_into_bce() -> None:
    (finding,) = judge("binary_cross_entropy", values=RAW)
    assert "no sigmoid stands before it; it gets values in [-2, 3]" in finding.message
    (clamped,) = judge("binary_cross_entropy", activation("Clamp"), values={**RAW, "min": 0.0, "max": 1.0})
    assert "binary_cross_entropy_with_logits on the raw output" in clamped.fix


@pytest.mark.parametrize(
    ("chain", "log_input", "low", "text"),
    [
        (["Softplus"], True, 0.1, "takes what it gets for the logarithm of a rate (log_input=True), but gets that of softplus"),
        (["Exp"], True, 0.1, "but gets that of exp"),
        ([], False, -2.0, "wants a rate (log_input=False), but gets raw values in [-2, 3]"),
        (["Softplus"], False, 0.1, ""),
        ([], True, -2.0, ""),
    ],
)
def test_the_rate_of_a_poisson_loss(chain: list[str], log_input: bool, low: float, text: str) -> None:
    facts = step(kind="poisson_nll_loss", head=[activation(name) for name in chain], input={**RAW, "min": low})
    found = findings(RULE, probe__step={**facts, "log_input": log_input})
    assert [text in f.message for f in found] == ([True] if text else [])


def test_softmax_over_one_unit() -> None:
    (finding,) = judge("binary_cross_entropy", activation("Softmax", axis=1, shape=[32, 1]), values=WITHIN_ONE)
    assert "runs over an axis of length 1, so its result is the same for every input" in finding.message
    assert "one unit with binary_cross_entropy_with_logits" in finding.fix


@pytest.mark.parametrize(
    ("kind", "chain", "values"),
    [
        ("cross_entropy", [], RAW),
        ("cross_entropy", [activation("LogSoftmax", axis=1, shape=[32, 10])], LOG),
        ("cross_entropy", [activation("Softmax", axis=1, shape=[32, 10], scaled=True)], WITHIN_ONE),
        ("cross_entropy", [activation("Tanh", scaled=True)], RAW),
        ("nll_loss", [activation("LogSoftmax", axis=1, shape=[32, 10])], LOG),
        ("nll_loss", [activation("LogSoftmax", axis=0, shape=[32, 10])], RAW),  # rule M219 speaks of it
        ("kl_div", [activation("LogSoftmax", axis=1, shape=[32, 10])], LOG),
        ("binary_cross_entropy_with_logits", [], RAW),
        ("binary_cross_entropy", [activation("Sigmoid")], WITHIN_ONE),
        ("binary_cross_entropy", [activation("Clamp"), activation("Sigmoid")], WITHIN_ONE),
        ("binary_cross_entropy", [activation("Softmax", axis=1, shape=[32, 2])], WITHIN_ONE),
        ("binary_cross_entropy", [], {**RAW, "min": 0.1, "max": 0.9}),  # a mean of probabilities, say
        ("mse_loss", [activation("Sigmoid")], WITHIN_ONE),
    ],
)
def test_what_losses_want_is_clean(kind: str, chain: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert judge(kind, *chain, values=values) == []


def test_a_step_without_a_known_loss_is_clean() -> None:
    assert findings(RULE, probe__step={"kind": "", "head": [], "calls": 0, "broadcast": None, "raised": ""}) == []


def test_without_a_source_it_names_the_hook() -> None:
    facts = {"probe.step": step(head=[activation("Sigmoid")], input=WITHIN_ONE)}
    assert outcome(RULE, facts, source=False).findings[0].where == "training_step"


def test_a_softmax_over_labels_of_which_a_row_has_several() -> None:
    def several(mean: float) -> list[Any]:
        made = step(kind="binary_cross_entropy", head=[activation("Softmax", axis=1, shape=[40, 6])], input=WITHIN_ONE)
        fields = {"batch[0]": {"mean": 0.0}, "batch[1]": {"mean": mean, "target": {}}}
        return findings(RULE, probe__step=made, data={"train": {"fields": fields}})

    (finding,) = several(0.47)
    assert "makes the 6 outputs of a row add up to 1, but a row has 2.8 labels in the mean" in finding.message
    assert several(1 / 6) == []
