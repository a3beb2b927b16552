from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.input_independent import InputIndependent
from diagnose.rules.vanishing_gradient import VanishingGradient
from diagnose.values import Severity
from tests.rules.probes import findings, not_run, step
from tests.rules.training import training


def seen(swapped: float) -> dict[str, float]:
    return {"kept": 0.0, "swapped": swapped, "noise": 0.0, "samples": 32}


def field(**changes: Any) -> dict[str, Any]:
    return {"path": 'batch["words"]', "padded": True, "samples": 30, "change": 0.0, "read_by": "embed", "until": "encoder", **changes}


def test_outputs_that_never_change() -> None:
    (finding,) = findings(InputIndependent(), probe__step=step(), probe__dependence=seen(0.0))
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:20"
    assert finding.message == "the outputs stay the same when the samples are replaced by others"
    assert "follow one sample through forward" in finding.fix
    assert finding.evidence == {"change": 0.0, "limit": 1e-6}


def test_outputs_that_follow_their_input_are_clean() -> None:
    assert findings(InputIndependent(), probe__step=step(), probe__dependence=seen(2.7)) == []
    assert findings(InputIndependent(), probe__step=step(), probe__dependence=seen(2e-6)) == []


def test_what_is_thrown_away_is_named() -> None:
    names = ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "scale"]
    (finding,) = findings(InputIndependent(), probe__step=step(), probe__dependence={**seen(0.0), "unheard": names})
    assert finding.message == (
        "the outputs stay the same when the samples are replaced by others, and nothing that lstm, scale computes reaches them"
    )
    assert finding.fix == "use in forward what self.lstm returns"
    many = [f"m{i}.w" for i in range(6)]
    assert (
        "nothing that m0, m1, m2, m3 and 2 more computes"
        in findings(InputIndependent(), probe__step=step(), probe__dependence={**seen(0.0), "unheard": many})[0].message
    )


def test_a_field_that_is_read_and_lost_is_named() -> None:
    heard = {"probe__step": step(), "probe__dependence": seen(1.0)}
    (finding,) = findings(InputIndependent(), **heard, probe__fields=[field(), field(path="mask", change=2.0)])
    assert finding.message == (
        'the outputs stay the same when what padding leaves over of batch["words"] is replaced by that of other samples (30 of them), '
        "although embed reads it"
    )
    assert finding.fix.startswith("look at what follows self.encoder: a mask the wrong way round")
    (finding,) = findings(InputIndependent(), probe__step=step(), probe__fields=[field(padded=False, until="forward")])
    assert 'when batch["words"] is replaced' in finding.message
    assert "a softmax over an axis of one" in finding.fix


def test_fields_that_are_heard_or_meant_for_something_else_are_clean() -> None:
    for changes in ({"change": 2e-6}, {"read_by": None, "until": None}, {"samples": 3}):
        assert findings(InputIndependent(), probe__step=step(), probe__dependence=seen(1.0), probe__fields=[field(**changes)]) == []
    (finding,) = findings(InputIndependent(), probe__step=step(), probe__dependence=seen(0.0), probe__fields=[field()])
    assert finding.message == "the outputs stay the same when the samples are replaced by others"
    assert "probe.dependence was not recorded" in not_run(InputIndependent(), probe__step=step(), probe__fields=[])


def test_what_is_lost_little_by_little_is_left_to_the_vanishing_gradient() -> None:
    def deep(swapped: float) -> Record:
        return training(
            [1.1] * 300,
            facts={"probe.step": step(), "probe.dependence": seen(swapped)},
            labels={name: ["first", "middle", "last"] for name in ("grad_norm__layers", "update_ratio__layers")},
            grad_norm__layers=[[1e-8, 1e-4, 0.1]] * 20,
            update_ratio__layers=[[1e-6, 1e-4, 1e-3]] * 20,
        )

    assert run(VanishingGradient(), deep(5e-7)).findings
    assert "of which vanishing-gradient speaks" in run(InputIndependent(), deep(5e-7)).reason
    assert run(InputIndependent(), deep(0.0)).findings


def test_what_is_seen_to_be_lost_little_by_little_before_training_too() -> None:
    def lost(*changes: float) -> str:
        layers = [{"name": f"layer{i}", "change": change} for i, change in enumerate(changes)]
        record = Record()
        for name, fact in (("step", step()), ("dependence", seen(0.0)), ("fading", layers)):
            record.add(f"probe.{name}", fact)
        return run(InputIndependent(), record).reason

    assert "of which vanishing-gradient speaks" in lost(1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 0.0)
    assert lost(1.0, 0.9, 0.8, 0.7, 1e-6, 1e-6, 1e-6, 0.0) == ""


def column(value: float, top: float, *, dtype: str = "float32", shape: list[int] | None, **target: Any) -> dict[str, Any]:
    whole = dtype.startswith("int")
    kind = {"target": target} if target else {}
    return {"dtype": dtype, "shape": shape, "values": 900, "min": value, "max": top, "integers": whole or top == 0, **kind}


@pytest.mark.parametrize(
    ("fields", "samples", "found"),
    [
        ({"x": column(0, 0, shape=[1, 8, 8])}, 60, "x"),
        ({"x": column(0, 0, shape=[1, 8, 8])}, 40, None),
        ({"x": column(0, 1, shape=[1, 8, 8])}, 60, None),
        ({"x": column(0, 0, shape=[1, 8, 8]), "age": column(3, 90, shape=[])}, 60, None),
        ({"words": column(0, 0, dtype="int64", shape=None), "offsets": column(0, 99, dtype="int64", shape=[])}, 60, "words"),
        ({"mask": column(1, 1, dtype="int64", shape=[12]), "word": column(0, 99, dtype="int64", shape=[])}, 60, None),
        ({"words": column(0, 0, dtype="int64", shape=None), "price": column(0.5, 99.5, shape=[])}, 60, None),
        ({"x": {"dtype": "float32", "shape": [4], "values": 240, "nan": 240}}, 60, None),  # another rule's matter
        ({"words": column(0, 0, dtype="int64", shape=None), "x": {"dtype": "float32", "shape": [], "values": 60, "nan": 60}}, 60, None),
    ],
)
def test_inputs_that_are_all_alike(fields: dict[str, Any], samples: int, found: str | None) -> None:
    target = {"label": column(0, 3, dtype="int64", shape=[], kind="class")}
    data = {"train": {"inputs": list(fields), "target": "label", "samples": samples, "fields": fields | target}}
    wheres = [f.where for f in findings(InputIndependent(), data=data, probe__step=step(), probe__dependence=seen(2.7))]
    assert wheres == ([] if found is None else [found])


def test_a_field_that_is_nothing_beside_what_is_to_be_rebuilt() -> None:
    """An autoencoder that is given labels which nobody reads."""
    fields = {"x": column(0, 7, shape=[16], kind="vector"), "y": column(0, 0, shape=[])}
    data = {"train": {"inputs": ["y"], "target": "x", "samples": 1400, "fields": fields}}
    assert findings(InputIndependent(), data=data, probe__step=step(), probe__dependence=seen(2.7)) == []
