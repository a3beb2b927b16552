from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from diagnose import identity
from diagnose.identity import commit, digest

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, whatever the settings of this machine, and whatever repository a hook of git runs the tests for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, env=environment).stdout


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "SECONDS", 600.0)


@needs_git
def test_the_commit_of_a_folder_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert commit(str(tmp_path)) is None, "without a commit"
    commit.cache_clear()
    (tmp_path / "model.py").write_text("one")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "notes.txt").write_text("git does not know it")
    assert commit(str(tmp_path)) == {"commit": git(tmp_path, "rev-parse", "HEAD").strip(), "changed": False}
    commit.cache_clear()
    (tmp_path / "model.py").write_text("two")
    found = commit(str(tmp_path))
    assert found is not None
    assert found["changed"] is True


@needs_git
def test_a_hook_of_git_does_not_lead_to_its_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init")
        git(tmp_path / name, "commit", "--allow-empty", "-m", name)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    found = commit(str(tmp_path / "own"))
    assert found is not None
    assert found["commit"] == git(tmp_path / "own", "rev-parse", "HEAD").strip()


def test_no_commit_outside_a_repository_or_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(str(tmp_path)) is None
    commit.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert commit(str(tmp_path)) is None


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert digest(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()
