"""The commands that suggest a learning rate and a batch size, and the training that takes the rate over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnose.record import Record
from tests.cli.conftest import TINY

Cli = Callable[..., int]


def test_a_learning_rate_is_suggested_with_its_curve(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("lr_range", *TINY, "lr_range.steps=40", "lr_range.seeds=2", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert 1e-5 < printed["headlines"]["learning rate"] < 5
    page = Path(printed["report"]).read_text()
    assert "Learning-rate range test" in page
    assert "Suggested learning rate" in page
    assert len(Record.read(Path(printed["folder"]) / "record").facts["probe.lr_range"]["losses"]) == 2


def test_batch_sizes_are_suggested(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("batch_size", *TINY, "batch_size.seconds=0.2", "batch_size.memory=0.5") == 0
    printed = capsys.readouterr().out
    assert "largest power of two that fits in memory" in printed.replace("\n", " ")


def test_train_takes_the_rate_over_only_where_asked(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("train", *TINY, "lr_range.use=true", "lr_range.steps=40", "lr_range.seeds=1") in (0, 1)
    assert "lr_range   optimizer.lr is " in capsys.readouterr().out
    record = Record.read(tmp_path / "outputs" / "train" / "latest" / "record")
    used = record.facts["probe.lr_range"]["used"]
    assert record.facts["config"]["optimizer"]["lr"] == used != 3e-3
    assert record.facts["config"]["lr_range"]["use"] is False  # a replay trains with this rate at once
    assert record.series("lr").value.max() == pytest.approx(used, rel=1e-3)
    assert cli("train", *TINY) in (0, 1)
    plain = Record.read(tmp_path / "outputs" / "train" / "latest" / "record")
    assert plain.facts["config"]["optimizer"]["lr"] == 3e-3
    assert "probe.lr_range" not in plain


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["lr_range", "lr_range.low=1", "lr_range.high=0.1"], "lr_range: expected rates 0 < low < high, got low=1 and high=0.1"),
        (["train", "lr_range.use=true", "lr_range.steps=3"], "lr_range: expected at least 20 steps and one seed, got steps=3"),
        (["batch_size", "batch_size.memory=-1"], "batch_size: expected memory and seconds above 0, got memory=-1073741824"),
    ],
)
def test_options_out_of_range_are_refused(
    words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(words[0], *TINY, *words[1:]) == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
