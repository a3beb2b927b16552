"""What every test starts from: one thread, fixed seeds, an empty working directory, and nothing of the test before it."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two threads beside a busy neighbour are slower than one
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))  # for `python -m diagnose` in tests


LOGGERS = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric")


@pytest.fixture(scope="module", autouse=True)
def _generators(request: pytest.FixtureRequest) -> Iterator[dict[np.random.Generator, Any]]:
    """The generators that a test file keeps, with their state: what a test draws must not depend on which tests ran before it."""
    found = {g: g.bit_generator.state for g in vars(request.module).values() if isinstance(g, np.random.Generator)}
    yield found
    _rewind(found)


def _rewind(generators: dict[np.random.Generator, Any]) -> None:
    for generator, state in generators.items():
        generator.bit_generator.state = state


@pytest.fixture(autouse=True)
def _same_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _generators: dict[np.random.Generator, Any]) -> Iterator[None]:
    """The same random numbers and a folder of its own for every test; what it sets for the whole process is put back afterwards.

    Lightning and the commands set log levels, variables of the environment (the seed), threads, and what becomes of interrupts.
    """
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    np.random.seed(0)  # the generator that libraries use
    _rewind(_generators)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(False)
    interrupt, environment = signal.getsignal(signal.SIGINT), dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    yield
    signal.signal(signal.SIGINT, interrupt)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


@pytest.fixture
def root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT
