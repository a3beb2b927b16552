"""The scripts that make an environment, with an interpreter that only writes down what it is asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scripts import report_libraries

INTERPRETER = """#!/bin/sh
case "$*" in
    "-c "*) exit 0 ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
echo "$*" >>"$LOG"
case "$*" in *"$FAIL"*) echo "WARNING: noise" >&2; echo "ERROR: it is broken" >&2; exit 1 ;; esac
"""


@dataclass(frozen=True)
class Machine:
    """A copy of the scripts, and what they run with."""

    folder: Path

    def run(self, *command: str, fail: str = "no call has this", **environment: str) -> subprocess.CompletedProcess[str]:
        values = {**os.environ, "PYTHON": str(self.folder / "python"), "LOG": str(self.folder / "log"), "FAIL": fail, **environment}
        return subprocess.run(command, cwd="/", env=values, capture_output=True, text=True)

    def calls(self) -> list[str]:
        """What the interpreter was asked since the last time."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("DIAGNOSE_VENV", raising=False)
    shutil.copytree(root / "scripts", tmp_path / "a clone" / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path / "a clone")
    python = tmp_path / "python"
    python.write_text(INTERPRETER)
    python.chmod(0o755)
    return Machine(tmp_path)


def script(machine: Machine, name: str) -> str:
    return str(machine.folder / "a clone" / "scripts" / name)


def test_the_environment_is_made_once(machine: Machine) -> None:
    first = machine.run(script(machine, "environment"))
    assert first.returncode == 0, first.stderr
    venv, pip = machine.calls()
    clone = machine.folder / "a clone"
    assert venv == f"-m venv {clone}/.venv"
    assert pip.startswith("-m pip install")
    assert pip.endswith(f"--constraint {clone}/constraints.txt --editable {clone}")

    again = machine.run(script(machine, "environment"))
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine.calls() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_it_is_brought_up_to_date_when_what_it_is_made_from_changes(machine: Machine, name: str) -> None:
    machine.run(script(machine, "environment"))
    machine.calls()
    with (machine.folder / "a clone" / name).open("a") as file:
        file.write("# changed\n")
    machine.run(script(machine, "environment"))
    (pip,) = machine.calls()
    assert pip.startswith("-m pip install")


def test_extras_are_installed_beside(machine: Machine) -> None:
    machine.run(script(machine, "environment"))
    machine.calls()
    machine.run(script(machine, "environment"), "dev")
    (pip,) = machine.calls()
    assert pip.endswith("a clone[dev]")


def test_it_stands_where_one_says(machine: Machine) -> None:
    elsewhere = machine.folder / "else where"
    done = machine.run(script(machine, "environment"), DIAGNOSE_VENV=str(elsewhere))
    assert done.returncode == 0
    assert (elsewhere / "bin" / "python").is_file()
    assert not (machine.folder / "a clone" / ".venv").exists()


def test_a_failed_installation_says_so_and_is_tried_again(machine: Machine) -> None:
    failed = machine.run(script(machine, "environment"), fail="pip install")
    assert failed.returncode == 1
    assert "ERROR: it is broken" in failed.stderr
    assert "noise" not in failed.stderr
    assert "pip could not install what constraints.txt pins" in failed.stderr
    machine.calls()
    assert machine.run(script(machine, "environment")).returncode == 0
    assert len(machine.calls()) == 1


def test_without_a_python_it_says_what_to_do(machine: Machine) -> None:
    tools = machine.folder / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname", "cat", "cksum"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    failed = machine.run(script(machine, "environment"), PATH=str(tools), PYTHON="")
    assert failed.returncode == 1
    assert "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python3.11" in failed.stderr


def test_run_trains_the_mlp_unless_told_otherwise(machine: Machine) -> None:
    machine.run(script(machine, "run"))
    assert machine.calls()[-1] == "-m diagnose train +model=mlp"
    machine.run(script(machine, "run"), "model=cnn", "seed=7")
    assert machine.calls() == ["-m diagnose train model=cnn seed=7"]


def test_run_ends_as_the_program_ends(machine: Machine) -> None:
    assert machine.run(script(machine, "run"), fail="diagnose train").returncode == 1


def test_test_runs_every_check_and_names_those_that_fail(machine: Machine) -> None:
    chromium = machine.folder / "chromium"
    chromium.write_text("#!/bin/sh\n")
    chromium.chmod(0o755)
    path = f"{machine.folder}:{os.environ['PATH']}"
    done = machine.run(script(machine, "test"), "-k", "x", PATH=path)
    assert done.returncode == 0, done.stderr
    lint = "--output-format concise ."
    linted = [f"-m ruff check {lint}", f"-m ruff format --check {lint}", "-m mypy"]
    assert machine.calls()[2:] == [*linted, "-m pytest -n auto --dist worksteal -k x"]
    failed = machine.run(script(machine, "test"), PATH=path, fail="mypy")
    assert failed.returncode == 1
    assert len(machine.calls()) == 4
    assert failed.stderr.splitlines()[-1] == "FAILED: mypy"


@pytest.mark.slow
def test_the_benchmark_of_the_evaluation_agrees_with_scikit_learn(root: Path) -> None:
    command = [sys.executable, "scripts/benchmark_evaluation.py", "--quick", "--only", "numbers"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "scikit-learn" in line)
    assert float(line.split("apart")[1]) < 1e-6


def test_report_libraries_are_timed_or_their_error_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"json": "open(page, 'w').write('x' * 1000)", "wave": "raise OSError('no such device')", "evidently_none": ""}
    monkeypatch.setattr(report_libraries, "LIBRARIES", known)
    target = np.array([0, 1, 2])
    report_libraries.table(tmp_path / "t.csv", target, np.eye(3))
    assert (tmp_path / "t.csv").read_text().splitlines()[:2] == [
        "target,prediction,prob_0,prob_1,prob_2",
        "0,0,1.000000,0.000000,0.000000",
    ]
    rows = [report_libraries.timed_library(name, [sys.executable], tmp_path / "t.csv", tmp_path) for name in known]
    assert rows[0]["megabytes"] == pytest.approx(0.001)
    assert rows[0]["seconds"] > 0
    assert (rows[1]["seconds"], rows[1]["does not run"]) == (None, "OSError: no such device")
    assert rows[2]["does not run"] == "ModuleNotFoundError: No module named 'evidently_none'"
