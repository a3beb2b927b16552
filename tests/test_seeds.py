"""Verdicts over seeds: programs written anew, and how their results are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.corpus import Result
from scripts.seeds import reseeded, run_apart, summary, told

PROGRAM = '''
"""Über manual_seed(3)."""
import numpy, torch
NAME = "µ"; SEED = 4; noise = torch.randn(3, generator=torch.Generator().manual_seed(SEED + 1)), numpy.random.default_rng(0).random()
def parts(split, seed=0): return split(range(4), random_state=seed, shuffle=True)
'''


def values(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(text, names)
    return names


def test_every_seed_of_a_program_is_shifted_and_nothing_else() -> None:
    other = reseeded(PROGRAM, 2)
    assert other.replace("(SEED + 1) + 15838", "SEED + 1").replace("(0) + 15838", "0").replace("(seed) + 15838", "seed") == PROGRAM
    names = values(other)
    assert names["parts"](lambda _rows, **given: given) == {"random_state": 15838, "shuffle": True}
    assert names["noise"][1] != values(PROGRAM)["noise"][1]


def test_seed_zero_is_the_program_itself() -> None:
    assert reseeded(PROGRAM, 0) == PROGRAM


def results(*raised: str, rules: tuple[str, ...] = ()) -> list[Result]:
    alarms = [[{"rule": rule, "severity": "warning"}] if rule else [] for rule in raised]
    return [Result(case="case", rules=list(rules), before=before) for before in alarms]


def test_a_line_tells_in_how_many_seeds_the_cause_was_named() -> None:
    assert told("case", results("a", "a", "b", "z", rules=("a", "b"))) == "  2 of  4  case: a  (1 by a symptom, z 1)"
    assert told("case", results("", "z")) == "  1 of  2  case: healthy  (z 1)"
    assert told("case", [*results("a", rules=("a",)), Result(case="case", crash="no end")]) == "  1 of  2  case: a  (1 crashed)"


def test_the_figures_over_seeds() -> None:
    cases = {
        "stable": results(*["a"] * 9, "", rules=("a",)),
        "unstable": results(*["a"] * 8, "", "", rules=("a",)),
        "healthy": results("", "z"),
    }
    assert summary(cases) == {
        "seeds": 10,
        "faulty": 2,
        "runs": 20,
        "named": 17,
        "stable": 1,
        "fewer": {"unstable": (8, 10)},
        "healthy": 1,
        "healthy_runs": 2,
        "false_alarms": 1,
        "crashed": 0,
    }


@pytest.mark.slow
def test_seeds_that_a_crash_costs_are_told_from_those_before(tmp_path: Path) -> None:
    program = tmp_path / "case.py"
    program.write_text(
        "import os\nimport torch\nfrom torch.utils.data import DataLoader, TensorDataset\nfrom diagnose.models.learner import Learner\n"
        "RULES, TRAINER = [], {'max_steps': 1}\nSEED = torch.Generator().manual_seed(0).initial_seed()\n"
        "def build():\n    if SEED:\n        os._exit(3)\n"
        "    data = TensorDataset(torch.randn(8, 2), torch.arange(8) % 2)\n"
        "    return Learner(torch.nn.Linear(2, 2), torch.optim.Adam), DataLoader(data, batch_size=4, shuffle=True), None\n"
    )
    first, second = run_apart(program, [0, 1], timeout=300).values()
    assert (first.crash, first.verdict) == ("", "ok")
    assert second.verdict == "CRASH"
