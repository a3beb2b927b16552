"""What a run was made of, so that another can be told from it: the commit of the code, the bytes of files, the samples."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 5.0  # that git may take
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set in a hook of git: they lead to its repository, whatever the folder


@cache
def commit(folder: str) -> dict[str, Any] | None:
    """The commit that a folder is checked out at; ``None`` outside a repository and without git.

    Returns:
        ``commit``, and ``changed``: whether tracked files differ from it, ``None`` where git does not say so in time.
    """
    found = _git(folder, "rev-parse", "--verify", "HEAD")
    if not found:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": found, "changed": None if status is None else bool(status)}


def _git(folder: str, *words: str) -> str | None:
    # no lock is taken and no program is started that the repository's own settings name
    command = ["git", "-c", "core.fsmonitor=false", "-C", folder, *words]
    here = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    environment = {**here, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def digest(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Sixteen digits that tell arrays apart: of equal ones, in type, shape and every value, they are equal.

    >>> fingerprint([np.array([1, 2])]) == fingerprint([np.array([1, 2])])
    True
    >>> fingerprint([np.array([1, 2])]) == fingerprint([np.array([2, 1])])
    False
    """
    known = hashlib.sha256()
    for array in arrays:
        known.update(f"{array.dtype.str} {array.shape} ".encode())
        known.update(np.ascontiguousarray(array).data)
    return known.hexdigest()[:16]
