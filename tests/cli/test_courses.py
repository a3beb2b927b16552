"""Data of one's own, losses and tasks, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diagnose.record import Record

Cli = Callable[..., int]
SHORT = ("trainer.max_epochs=2", "trainer.accelerator=cpu", "model.hidden=[8]", "data.batch_size=16")


def shops(path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{'abc'[i % 3]},{rng.normal() + i % 2:.3f},{'no' if i % 2 else 'yes'}" for i in range(120)]
    path.write_text("\n".join(["size,colour,weight,sold", *rows]))
    return path


def recorded(root: Path) -> Record:
    return Record.read(root / "outputs" / "train" / "latest" / "record")


def test_a_table_of_classes_is_trained(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "data=csv",
        f"data.path={shops(tmp_path / 't.csv')}",
        "data.target=sold",
        "loss=bce_with_logits",
        "loss.class_weights=balanced",
    )
    assert cli("train", *SHORT, *words) in (0, 1)
    record = recorded(tmp_path)
    assert record.facts["task"]["class_names"] == ["no", "yes"]
    assert record.facts["evaluation"]["test"]["task"] == "binary"
    assert record.facts["data_notes"][0] == "'colour' holds 3 categories; they became 3 columns of 0 and 1."
    assert "data       'colour' holds 3 categories" in capsys.readouterr().out


def test_values_are_trained(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *SHORT, "data=diabetes", "loss=huber", "optimizer=nesterov", "scheduler=warmup", "optimizer.decay_all=false") in (
        0,
        1,
    )
    found = recorded(tmp_path).facts["evaluation"]["test"]
    assert found["task"] == "regression"
    assert 30 < found["mae"] < 200


@pytest.mark.parametrize("model", ["transformer", "gru"])
def test_the_next_character_is_learned(model: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("what goes around comes around. " * 60)
    words = (f"model={model}", "model.width=16", "data=tokens", f"data.path={tmp_path / 't.txt'}", "data.length=16", *SHORT[:2])
    assert cli("train", *words, "trainer.max_epochs=6") in (0, 1)
    assert recorded(tmp_path).facts["evaluation"]["test"]["accuracy"] > 0.3


@pytest.mark.parametrize("words", [["model=autoencoder", "init=lsuv"], ["model=resnet", "model.channels=[4]", "init=he"]])
def test_other_networks_are_trained(words: list[str], cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "data=digits", *words, *SHORT[:2], "trainer.max_epochs=1") in (0, 1)
    assert "test" in recorded(tmp_path).facts["evaluation"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["data=iris", "init=he", "+init.scale=2"], "init: "),
        (["data=iris", "model=autoencoder"], "model: model.code=8 is not below the 4 numbers of a sample"),
        (["data=csv"], "data: data.path must name a .csv or .parquet file, there is no file None"),
        (["data=iris", "loss=mse"], "loss: loss=mse is for values or reconstruction, here are classes"),
        (["data=iris", "loss=bce_with_logits"], "loss: loss=bce_with_logits needs two classes, the data have 3"),
        (["data=diabetes", "loss=cross_entropy"], "loss: loss=cross_entropy is for classes or tokens, here are values"),
        (["data=diabetes", "data.sampler=balanced"], "data: data.sampler=balanced needs classes, the data have values"),
        (["data=iris", "+scheduler.speed=3"], "optimizer or scheduler: "),
        (["data=iris", "scheduler=step", "scheduler.factor=3.0"], "scheduler.factor must be above 0 and at most 1, got 3.0"),
        (["data=iris", "optimizer=momentum", "optimizer.momentum=1.0"], "optimizer.momentum must be at least 0 and below 1, got 1.0"),
        (["data=iris", "loss=l1", "+loss.delta=3"], "loss: loss=l1 is for values"),
        (["data=diabetes", "loss=mse", "+loss.reduction=sum"], "loss=mse has no option 'reduction'; losses are means over the batch"),
        (["data=iris", "+loss.reduction=sum"], "unexpected keyword argument 'reduction'"),
        (["data=tokens", "data.path=t.txt"], "model=mlp takes numbers, the data have tokens; choose model=transformer or gru"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_text("what goes around comes around. " * 40)
    assert cli("train", *words) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) <= 6
    assert [p.name for p in tmp_path.iterdir()] == ["t.txt"]
