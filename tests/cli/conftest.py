"""Running commands in this process: quicker than a new one, with the same effects on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from diagnose.cli import main

TINY = ("data=iris", "model.hidden=[8]", "trainer.max_epochs=2", "trainer.accelerator=cpu")


@pytest.fixture
def cli() -> Iterator[Callable[..., int]]:
    """Run a command; what it sets for the whole process is put back afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    levels = {
        name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric")
    }
    yield lambda *argv: main(list(argv))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def trained(cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a small trained run."""
    cli("train", *TINY, "fail_on=error")
    capsys.readouterr()
    return (tmp_path / "outputs" / "train" / "latest").resolve()
