"""Healthy programs that look odd: each must learn, and neither `check` nor `Doctor` may raise a warning or an error.

A program is a case as the corpus has them, with two names more: ``REACHES`` (a logged metric, ``"<"`` or ``">"``, and the value that
shows that it learns) and ``VARIANTS`` (a seed and arguments of ``build`` each; the first one is the case itself). To run them all:
``pytest tests/healthy``.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.corpus import load

CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def variants() -> Iterator[Any]:
    for path in CASES:
        for number, variant in enumerate(load(path).VARIANTS):
            told = ", ".join(f"{k}={v}" for k, v in variant.items()) or "as it is"
            yield pytest.param(path, variant, id=f"{path.stem}[{told}]", marks=pytest.mark.slow if number else ())


def build(path: Path, variant: dict[str, Any]) -> Any:
    from lightning import seed_everything

    options = dict(variant)
    seed_everything(options.pop("seed", 0), verbose=False)
    return load(path).build(**options)


def alarms(moment: str, findings: Any) -> list[str]:
    return [f"{moment}: {f.severity} {f.code} {f.rule} [{f.where}] {f.message}" for f in findings if f.severity != "info"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("path", "variant"), list(variants()))
def test_a_healthy_program_learns_and_raises_no_alarm(path: Path, variant: dict[str, Any]) -> None:
    from lightning import Trainer

    import diagnose
    from diagnose.callbacks import Doctor

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    checked = diagnose.check(*build(path, variant), patience=math.inf)
    case, doctor = load(path), Doctor()
    settings = copy.deepcopy(case.TRAINER)
    settings["callbacks"] = [*settings.get("callbacks", []), doctor]
    trainer = Trainer(**{**QUIET, **settings})
    trainer.fit(*build(path, variant))

    metric, side, value = case.REACHES
    reached = float(trainer.callback_metrics[metric])
    assert reached < value if side == "<" else reached > value, f"it does not learn: {metric} is {reached:.3g}, {side} {value} was expected"
    raised = alarms("before training", checked.findings) + alarms("during training", doctor.diagnosis.findings)
    assert not raised, "\n".join(["a false alarm:", *raised])


def test_there_are_enough_healthy_runs() -> None:
    assert len(CASES) >= 20
    assert sum(len(load(path).VARIANTS) for path in CASES) >= 48


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_healthy_case_has_the_form_of_the_corpus(path: Path) -> None:
    case = load(path)
    assert case.RULES == []
    assert "Looks odd:" in case.__doc__
    assert "Guards " in case.__doc__
    assert case.VARIANTS[0] == {}
