"""What every test starts from: one thread, fixed seeds, an empty working directory."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two threads beside a busy neighbour are slower than one
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))  # for `python -m diagnose` in tests


@pytest.fixture(autouse=True)
def _same_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same random numbers for every test, and a folder of its own to write to."""
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    np.random.seed(0)  # the generator that libraries use
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT
