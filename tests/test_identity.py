from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from diagnose.identity import commit, digest


def git(folder: Path, *words: str) -> str:
    who = {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, env={**os.environ, **who}).stdout


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


def test_no_commit_outside_a_repository_or_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(str(tmp_path)) is None
    commit.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert commit(str(tmp_path)) is None


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert digest(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()
