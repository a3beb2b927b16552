"""What the pages promise is run: their examples, commands and links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


MODULE = """
import torch
from diagnose.models.learner import Learner
from diagnose.models.networks import mlp
module = Learner(mlp((64,), 10), torch.optim.Adam)  # the reader's own
"""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("example", blocks(README, "python"), ids=["callbacks", "check"])
def test_the_examples_of_the_readme_run(example: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(MODULE + example)
    done = run("-W", "ignore", "example.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if "print(doctor" in example:
        assert "Diagnosis: " in done.stdout


@pytest.mark.slow
def test_the_examples_of_the_guide_to_callbacks_run(tmp_path: Path) -> None:
    text = (ROOT / "docs/callbacks.md").read_text(encoding="utf-8")
    (tmp_path / "example.py").write_text("\n".join(blocks(text, "python")))
    done = run("-W", "ignore", "example.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not-run" in done.stdout


def test_the_callback_example_takes_ten_lines() -> None:
    lines = [line for line in blocks(README, "python")[0].splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_two_commands_stand_in_the_first_screen() -> None:
    first = "\n".join(README.splitlines()[:12])
    for script in ("scripts/run", "scripts/test"):
        assert script in first
        assert os.access(ROOT / script, os.X_OK)


def test_the_example_of_a_rule_passes_its_own_tests(tmp_path: Path) -> None:
    text = (ROOT / "docs/writing-a-rule.md").read_text(encoding="utf-8")
    (tmp_path / "test_example.py").write_text("\n\n".join(blocks(text, "python")))
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_every_command_that_a_page_names_exists() -> None:
    done = run("-m", "diagnose", "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    named = {word for page in PAGES for word in re.findall(r"python -m diagnose ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert named >= {"train", "explain"}
    assert [word for word in sorted(named) if not re.search(rf"\b{word}\b", done.stdout)] == []


def test_every_command_of_the_table_exists() -> None:
    done = run("-m", "diagnose", "--help", cwd=ROOT)
    cells = re.findall(r"^\| (`.+?`) \|", README, re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"`(\w+)", cell)}
    assert named == {"train", "check", "evaluate", "report", "rules", "explain", "replay", "tune", "lr_range", "batch_size"}
    assert [word for word in sorted(named) if not re.search(rf"\b{word}\b", done.stdout)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_script_of_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [script for script in re.findall(r"\bscripts/[\w.]+", text) if not (ROOT / script.rstrip(".")).exists()] == []


def test_the_pictures_of_the_readme_are_small_and_have_words() -> None:
    pictures = re.findall(r"!\[([^\]]+)\]\((docs/pictures/[^)]+)\)", README)
    assert len(pictures) == 3
    assert {path.name for path in (ROOT / "docs" / "pictures").iterdir()} == {Path(file).name for _, file in pictures}
    assert all(len(words) > 40 for words, _ in pictures)
    assert all((ROOT / file).stat().st_size < 300_000 for _, file in pictures)
