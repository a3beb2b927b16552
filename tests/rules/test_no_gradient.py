from __future__ import annotations

from typing import Any

from diagnose.rules.no_gradient import NoGradient
from diagnose.values import Severity
from tests.rules.probes import findings, not_run


def weight(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "size": 10, "used": True, "reached": True, "optimized": True, **changes}


def judge(*registered: dict[str, Any], **more: Any) -> list[Any]:
    return findings(NoGradient(), probe__parameters={"registered": list(registered), "unregistered": [], "optimizers": 1, **more})


def test_an_encoder_cut_off() -> None:
    (finding,) = judge(weight("encoder.weight", size=30, reached=False), weight("head.weight"), losses=3)
    assert finding.severity is Severity.ERROR
    assert finding.where == "self.encoder"
    assert finding.message == "1 parameters (75% of the trainable weights) of encoder run in the forward pass but get no gradient"
    assert finding.fix == "look for detach, .data, no_grad, numpy or argmax between this module and the loss"
    assert finding.evidence == {"parameters": 1, "share": 0.75}


def test_a_module_that_never_ran_is_worth_knowing_only() -> None:
    (finding,) = judge(weight("spare.weight", used=False, reached=False), weight("head.weight"), losses=3)
    assert finding.severity is Severity.INFO
    assert "did not run in training_step and get no gradient" in finding.message


def test_both_at_once_are_two_findings() -> None:
    cut, spare = weight("cut.w", reached=False), weight("spare.w", used=False, reached=False)
    assert [f.severity for f in judge(cut, spare, weight("head.w"), losses=3)] == [Severity.ERROR, Severity.INFO]


def test_many_modules_are_cut_short() -> None:
    (finding,) = judge(*(weight(f"m{i}.w", reached=False) for i in range(6)), losses=3)
    assert "of m0, m1, m2, m3 and 2 more run" in finding.message


def test_a_step_without_a_loss() -> None:
    (finding,) = judge(weight("a.w", reached=False), losses=0)
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert finding.message == "training_step returned no loss with a gradient, so no parameter changes"
    assert "return the loss from training_step" in finding.fix


def test_a_step_that_leaves_out_batches_of_nan_may_return_no_loss() -> None:
    field = {"nan": 90, "posinf": 0, "neginf": 0, "bad_rows": 30, "bad_columns": [], "first_bad": {"batch": 0, "row": 1, "index": None}}
    train = {"fields": {"x": field}, "inputs": ["x"], "target": "y", "guessed": [], "samples": 64, "loss": None}
    facts = {"registered": [weight("a.w", reached=False)], "unregistered": [], "optimizers": 1, "losses": 0}
    assert "such batches may be left out" in not_run(NoGradient(), probe__parameters=facts, data={"train": train})


def test_gradients_everywhere_are_clean() -> None:
    assert judge(weight("a.w"), weight("b.w"), losses=3) == []
    assert judge(weight("teacher.w", reached=False, optimized=False), weight("b.w")) == []  # a teacher in no optimizer
    assert judge(weight("hidden.w", used=False)) == []  # inside a ScriptModule its use is not seen, its gradient is
    assert judge(losses=0) == []  # nothing to train


def test_a_rounding_before_the_loss() -> None:
    (finding,) = judge(weight("encoder.w", size=30, flat=True), weight("head.w", flat=False), losses=3)
    assert finding.severity is Severity.ERROR
    assert finding.message == (
        "1 parameters (75% of the trainable weights) of encoder get a gradient of zero, since a rounding or a sign stands between them and "
        "the loss"
    )
    assert finding.fix == "pass the gradient straight through: x + (x.round() - x).detach()"
    assert judge(weight("teacher.w", flat=True, optimized=False), weight("b.w")) == []


def test_what_waits_for_the_turn_of_its_optimizer_is_not_judged() -> None:
    assert judge(weight("maker.weight", reached=False, waits=True), weight("critic.weight"), losses=3) == []


def test_what_is_thrown_away_is_worth_knowing_only() -> None:
    entries = {"registered": [weight("lstm.w", size=30, reached=False), weight("encoder.w", reached=False), weight("head.w")], "losses": 3}
    cut, aside = findings(NoGradient(), probe__parameters=entries, probe__dependence={"swapped": 0.0, "unheard": ["lstm.w"]})
    assert (cut.severity, cut.where) == (Severity.ERROR, "self.encoder")
    assert (aside.severity, aside.where) == (Severity.INFO, "self.lstm")
    assert "of lstm run in the forward pass, but nothing that they compute reaches the outputs" in aside.message
