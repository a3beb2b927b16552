"""Running commands in this process: quicker than a new one, with the same effects on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from diagnose.cli import main

TINY = ("data=iris", "model.hidden=[8]", "trainer.max_epochs=2", "trainer.accelerator=cpu")


@pytest.fixture
def cli() -> Callable[..., int]:
    """Run a command."""
    return lambda *argv: main(list(argv))


@pytest.fixture
def trained(cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a small trained run."""
    cli("train", *TINY, "fail_on=error")
    capsys.readouterr()
    return (tmp_path / "outputs" / "train" / "latest").resolve()
