"""Examples in docstrings are run."""

from __future__ import annotations

import doctest
import os
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [Path(folder, name) for folder, _, names in os.walk(ROOT / "diagnose", followlinks=True) for name in names if name.endswith(".py")]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in FILES if ">>> " in file.read_text("utf-8")
)


def test_there_are_examples() -> None:
    assert any(name.startswith("diagnose.measure.") for name in MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_right(name: str) -> None:
    failed, tried = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert tried
    assert not failed, "the output of pytest shows the difference"
