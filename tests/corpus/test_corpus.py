"""Faulty programs, each with its repair: most faults are found and named by their cause, and a repaired program is not accused of it."""

from __future__ import annotations

import copy
import json
import logging
import math
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parent
CASES = sorted((FOLDER / "cases").glob("*.py"))
REPAIRS: dict[str, list[tuple[str, str]]] = json.loads((FOLDER / "repairs.json").read_text())
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
DETECTED, ROOT_CAUSE = 0.9, 0.8


def program(path: Path, *, repaired: bool = False) -> ModuleType:
    """The case as a module; ``repaired`` replaces each old text by its new one first."""
    text = path.read_text()
    for old, new in REPAIRS[path.stem] if repaired else ():
        assert old in text, f"the repair of {path.stem} does not fit: {old!r} is not there"
        text = text.replace(old, new)
    module = ModuleType(path.stem + "_repaired" * repaired)
    sys.modules[module.__name__] = module
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


@cache
def raised(path: Path, *, repaired: bool = False) -> frozenset[str]:
    """Names of the rules that gave a warning or an error, before or during training."""
    from lightning import Trainer, seed_everything

    import diagnose
    from diagnose.callbacks import Doctor

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    case = program(path, repaired=repaired)

    def build() -> Any:
        seed_everything(0, verbose=False)
        return case.build()

    findings = list(diagnose.check(*build(), patience=math.inf).findings)
    doctor = Doctor()
    settings = copy.deepcopy(case.TRAINER)
    settings["callbacks"] = [*settings.get("callbacks", []), doctor]
    try:
        Trainer(**{**QUIET, **settings}).fit(*build())
    except Exception:
        if repaired:
            raise
        # the fault may end plain training too
    findings += doctor.diagnosis.findings
    return frozenset(f.rule for f in findings if f.severity != "info")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_most_faults_are_found_by_their_cause() -> None:
    rules = {path: program(path).RULES for path in CASES}
    missed = {path.stem: sorted(raised(path)) for path, names in rules.items() if not raised(path) & set(names)}
    by_symptom = {path.stem: sorted(raised(path)) for path, names in rules.items() if names[0] not in raised(path)}
    assert 1 - len(missed) / len(CASES) >= DETECTED, missed
    assert 1 - len(by_symptom) / len(CASES) >= ROOT_CAUSE, by_symptom


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_repaired_program_is_not_accused(path: Path) -> None:
    accused = raised(path, repaired=True) & set(program(path).RULES)
    assert not accused


def names() -> Iterator[str]:
    from diagnose.rules import catalogue

    yield from (rule.name for rule in catalogue())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_faulty_case_has_the_form_of_the_corpus(path: Path) -> None:
    case = program(path)
    assert case.RULES
    assert set(case.RULES) <= set(names())
    assert all(word in (case.__doc__ or "") for word in ("Fault:", "Symptom:", "Source:"))
    program(path, repaired=True)
