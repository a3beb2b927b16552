from __future__ import annotations

import math
import re
from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.invalid_target import InvalidTarget
from diagnose.values import Finding, Severity

CE = {"kind": "cross_entropy", "classes": 3, "input_shape": [32, 3], "target_shape": [32], "target_dtype": "int64", "ignore_index": -100}
BCE = {"kind": "binary_cross_entropy_with_logits", "classes": 2, "input_shape": [32], "target_shape": [32], "target_dtype": "float32"}
SOFT = {**CE, "target_shape": [32, 3], "target_dtype": "float32"}


def field(low: float, high: float, counts: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    target = {"kind": "class", "counts": counts, "rows_sum": changes.pop("rows_sum", None), "outside": 0.5}
    return {"min": low, "max": high, "dtype": "int64", "integers": True, "binary": False, "target": target, **changes}


def judge(y: dict[str, Any], loss: dict[str, Any] | None, **more: Any) -> list[Finding]:
    facts = {"loss": loss, "target": "y", "guessed": [], "samples": 400, "fields": {"y": y}, **more}
    record = Record()
    record.add("data", {"train": facts, "val/0": facts})
    return list(InvalidTarget().judge(record))


@pytest.mark.parametrize(
    ("y", "loss", "message", "fix"),
    [
        (
            field(1, 3, {"1": 9, "2": 9, "3": 9}),
            CE,
            "between 0 and 2; they run from 1 to 3: they count from 1",
            "subtract 1 from the labels",
        ),
        (field(0, 255, {"0": 9, "2": 9, "255": 9}), CE, "255 occurs, which often stands for unlabelled", "give the loss ignore_index=255"),
        (field(-1, 2, {"-1": 9, "0": 9, "2": 9}), CE, "-1 occurs, which often stands for unlabelled", "give the loss ignore_index=-1"),
        (field(0, 4, {"0": 9, "4": 9}), CE, "they run from 0 to 4", "map the labels"),
        (field(0, 999), CE, "they run from 0 to 999", "map the labels"),
        (field(0, 2), {**CE, "target_dtype": "float32"}, "wants class indices of type int64, the targets are float32", "y.long()"),
        (field(0, 1), {**SOFT, "kind": "nll_loss"}, r"the targets are float32 of shape \[32, 3\]", "y.argmax"),
        (field(0, 1, binary=True), {**CE, "target_shape": [32, 3]}, r"indices of shape \[32\], .* shape \[32, 3\], one-hot", "y.argmax"),
        (field(0, 2), {**CE, "target_shape": [32, 1]}, r"the targets have shape \[32, 1\]", r"y.squeeze\(1\)"),
        (field(-0.5, 1, rows_sum=[0.2, 1]), SOFT, r"for probabilities, the smallest is -0\.5", "for regression use mse_loss"),
        (
            field(-1, 1),
            BCE,
            "wants targets between 0 and 1, they lie between -1 and 1, so that the loss has no lower bound",
            r"\(y \+ 1\) / 2",
        ),
        (field(0, 255, {"0": 9, "255": 9}), BCE, "they lie between 0 and 255", "divide the masks by 255"),
        (field(1, 2, {"1": 9, "2": 9}), BCE, "they lie between 1 and 2", "pass y - 1"),
        (field(0, 2, {"0": 9, "1": 9, "2": 9}), BCE, "they lie between 0 and 2", "the labels know 3 classes: use cross_entropy"),
        (field(0, 7.5, integers=False), BCE, "they lie between 0 and 7.5", "or use a regression loss"),
        (field(0, 1), {**BCE, "target_dtype": "int64"}, "wants float targets, y is int64", r"y.float\(\)"),
        (field(0, 1), {**BCE, "kind": "soft_margin_loss"}, "wants targets of -1 and 1, y holds values from 0 to 1", r"2 \* y - 1"),
        (field(0, 1), {**BCE, "kind": "cosine_embedding_loss"}, "cosine_embedding_loss wants targets of -1 and 1", r"2 \* y - 1"),
        (field(1, 2), {**BCE, "kind": "hinge_embedding_loss"}, "wants targets of -1 and 1, y holds values from 1 to 2", "map the labels"),
        (field(-2, 5), {**BCE, "kind": "poisson_nll_loss"}, "wants counts, the smallest target is -2", "pass counts"),
    ],
)
def test_targets_that_do_not_fit(y: dict[str, Any], loss: dict[str, Any], message: str, fix: str) -> None:
    (finding,) = judge(y, loss)  # one finding, though validation has the same fault
    assert finding.severity is Severity.ERROR
    assert finding.where == "train, y"
    assert re.search(message, finding.message)
    assert re.search(fix, finding.fix)


def test_probabilities_that_do_not_sum_to_one() -> None:
    (finding,) = judge(field(0, 1, rows_sum=[0.0, 3.0], binary=True), SOFT)
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith("but the rows sum to 0 … 3")
    assert finding.fix == "use binary_cross_entropy_with_logits, one label per class"
    assert judge(field(0, 0.9, rows_sum=[0.5, 0.9]), SOFT)[0].fix == "divide each row by its sum"


def test_one_class() -> None:
    (finding,) = judge(field(1, 1, {"1": 400}), BCE)
    assert finding.severity is Severity.WARNING
    assert finding.message == "all 400 training rows read are of class 1: there is nothing to tell apart"
    assert judge(field(1, 1, {"1": 20}), BCE, samples=20) == []


@pytest.mark.parametrize(("loss", "count"), [({**CE, "fixed": False}, 0), ({**CE, "fixed": True}, 1), ({**BCE, "fixed": False}, 1)])
def test_one_label_that_is_the_place_of_the_right_candidate(loss: dict[str, Any], count: int) -> None:
    assert len(judge(field(0, 0, {"0": 400}), loss)) == count


@pytest.mark.parametrize(
    ("y", "loss"),
    [
        (field(0, 2, {"0": 9, "1": 9, "2": 9}), CE),
        (field(-100, 2, {"-100": 9, "0": 9, "2": 9}), CE),
        (field(0, 255, {"0": 9, "1": 9, "255": 9}), {**CE, "ignore_index": 255}),
        (field(0, 1, rows_sum=[0.9999, 1.0001]), SOFT),
        (field(0, 2), {**CE, "target_dtype": "uint8"}),
        (field(0, 1), {**CE, "input_shape": [8, 3, 4, 4], "target_shape": [8, 4, 4]}),
        (field(0, 1, {"0": 9, "1": 9}), BCE),
        (field(0.05, 0.95), BCE),
        (field(-1, 1), {**BCE, "kind": "soft_margin_loss"}),
        (field(-1, 1), {**BCE, "kind": "cosine_embedding_loss"}),
        (field(1, 1), {**BCE, "kind": "margin_ranking_loss"}),  # the first of each pair is the better one
        (field(0.2, 0.8, integers=False), {**BCE, "kind": "hinge_embedding_loss"}),
        (field(-300, 900), {**BCE, "kind": "mse_loss"}),
        ({"dtype": "float32"}, BCE),  # nothing finite
    ],
)
def test_targets_that_fit(y: dict[str, Any], loss: dict[str, Any]) -> None:
    assert judge(y, loss) == []


STEP = {"kind": "cross_entropy", "classes": 3, "input_shape": [32, 3], "target_shape": [32], "target_dtype": "int64"}
STEP |= {"labels": {"count": 32, "min": 1, "max": 3}, "target": {"min": -100.0, "max": 3.0}}


def judge_step(step: dict[str, Any] | None, **facts: Any) -> list[Finding]:
    record = Record()
    record.add("data", {"train": {"loss": CE, "target": None, "guessed": [], "samples": 400, "fields": {}, **facts}})
    record.add("source", {"training_step": "model.py:31"})
    if step is not None:
        record.add("probe.step", step)
    return list(InvalidTarget().judge(record))


@pytest.mark.parametrize("facts", [{}, {"loss": None}, {"target": "y", "guessed": ["target"]}])
def test_targets_that_the_step_makes_are_judged_by_the_loss_call(facts: dict[str, Any]) -> None:
    (finding,) = judge_step(STEP, **facts)
    assert "they run from 1 to 3: they count from 1" in finding.message
    assert finding.where == "model.py:31"
    assert judge_step({**STEP, "labels": {"count": 32, "min": 0, "max": 2}}, **facts) == []
    (finding,) = judge_step({**STEP, **BCE, "target": {"min": -1.0, "max": 1.0}}, **facts)
    assert "they lie between -1 and 1" in finding.message
    assert judge_step({**STEP, **BCE, "target": {"min": -math.inf, "max": 1.0}}, **facts) == []
    assert judge_step({**STEP, **SOFT, "target": {"min": 0.0, "max": 1.0}}, **facts) == []


@pytest.mark.parametrize("step", [None, {"kind": ""}, {"kind": "mse_loss", "target": {}}])
def test_targets_that_are_not_known(step: dict[str, Any] | None) -> None:
    with pytest.raises(NotRun, match="no loss call was seen, so what the targets should be is not known"):
        judge_step(step)


@pytest.mark.parametrize(("calls", "found"), [(0, 0), (1, 1), (None, 1)])
def test_new_classes_that_a_search_is_tested_with_are_none_of_the_loss(calls: int | None, found: int) -> None:
    record = Record()
    train, val = field(0, 2, {"0": 9, "1": 9, "2": 9}), field(3, 5, {"3": 9, "4": 9, "5": 9})
    facts = {"loss": CE, "target": "y", "guessed": [], "samples": 400}
    record.add("data", {"train": {**facts, "fields": {"y": train}}, "val/0": {**facts, "fields": {"y": val}}})
    if calls is not None:
        record.add("probe.validation", {"calls": calls})
    assert len(list(InvalidTarget().judge(record))) == found


@pytest.mark.parametrize(("kind", "count"), [("binary_cross_entropy", 1), ("cross_entropy", 1), ("kl_div", 0), ("mse_loss", 0)])
def test_prediction_and_target_that_were_exchanged(kind: str, count: int) -> None:
    """The squared error is the same either way, and a divergence is taken both ways."""
    record = Record()
    record.add("data", {"train": {"loss": None, "target": None, "guessed": [], "samples": 400, "fields": {}}})
    record.add("probe.step", {"kind": kind, "exchanged": True, "target": {"min": 0.2, "max": 0.8}, "labels": {}, "target_dtype": "float32"})
    found = [f for f in InvalidTarget().judge(record) if "was given the data as its first argument" in f.message]
    assert [f.fix for f in found] == [f"{kind}(prediction, target)"] * count
