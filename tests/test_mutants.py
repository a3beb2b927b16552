"""Faults put into healthy programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import scripts.mutation_operators  # noqa: F401
from diagnose.rules import catalogue
from scripts.mutants import Course, Mutant, harmed, score, table
from scripts.mutation_operators import MUTATIONS
from scripts.mutations import NotApplicable, Program


def test_each_mutation_names_rules_that_there_are() -> None:
    known = {rule.name for rule in catalogue()}
    assert all(set(m.rules) <= known for m in MUTATIONS.values())
    assert [m.name for m in MUTATIONS.values() if not m.rules] == [name for name in MUTATIONS if "harmless" in name]


@pytest.mark.parametrize(
    ("losses", "logged", "expected"),
    [
        ([3.0] * 5 + [1.5] * 5, {}, False),
        ([3.0] * 5 + [1.7] * 5, {}, True),
        ([3.0] * 5 + [float("nan")], {}, True),
        ([3.0] * 5 + [1.0] * 5, {"val_acc": 0.85, "val_loss": 0.6}, False),
        ([3.0] * 5 + [1.0] * 5, {"val_acc": 0.75}, True),
        ([3.0] * 5 + [1.0] * 5, {"val_loss": 0.8}, True),
    ],
)
def test_harm(losses: list[float], logged: dict[str, float], expected: bool) -> None:
    assert harmed(Course([3.0] * 5 + [1.0] * 5, {"val_acc": 0.9, "val_loss": 0.5}), Course(losses, logged)) is expected


def test_only_what_did_harm_counts() -> None:
    fault = ["non-finite-input", "non-finite"]
    mutants = [
        Mutant(case="a", mutation="nan", rules=fault, harmed=True, raised=["non-finite"]),
        Mutant(case="b", mutation="nan", rules=fault, harmed=True, raised=["overfitting"]),
        Mutant(case="c", mutation="nan", rules=fault, raised=[]),
        Mutant(case="a", mutation="harmless", raised=["overfitting"]),
        Mutant(case="b", mutation="harmless", harmed=True, raised=["overfitting"]),
    ]
    assert score(mutants) == {"faulty": 2, "found": 0.5, "cause_named": 0.0, "harmless": 1, "false_alarms": 1}
    assert "| nan | 3 | 2 | 1 | 0 | 0 |" in table(mutants)
    assert "| harmless | 2 | 1 |  |  | 1 |" in table(mutants)


def test_a_program_without_dropout_has_none_to_be_made_stronger() -> None:
    from torch import nn

    with pytest.raises(NotApplicable, match="no dropout"):
        MUTATIONS["dropout of 0.97"].apply(Program(nn.Linear(2, 2), None, None, {}))


@pytest.mark.slow
def test_mutants_of_a_program_from_the_command_line(root: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "scripts/mutants.py",
        "--only",
        "two_sigmoid_layers_that_learn",
        "--each",
        "99",
        "--json",
        str(tmp_path / "m"),
    ]
    done = subprocess.run([*command, "--mutation", "[oh]*"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {m["mutation"]: m for m in json.loads((tmp_path / "m").read_text())["mutants"]}
    assert "non-finite-input" in found["one NaN among the inputs"]["raised"]
    assert "split-overlap" in found["half of validation is training"]["raised"]
    assert "| one NaN among the inputs | 1 | 1 | 1 | 1 | 0 |" in done.stdout
    wrong = subprocess.run([*command, "--mutation", "nothing"], cwd=root, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no mutation matches 'nothing'; there are rate × 300" in wrong.stderr
