"""``train ensemble=...`` and ``evaluate ensemble=...``: each kind from the words to the report, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diagnose.cli import ensemble as ensembles
from diagnose.data.bundled import Bundled
from diagnose.record import Record
from diagnose.report.drawn import Drawn

Cli = Callable[..., int]
TINY = ("data=iris", "model.hidden=[8]", "trainer.max_epochs=3", "trainer.accelerator=cpu", "layers=[]")


def latest(root: Path, command: str = "train") -> tuple[Path, dict[str, Any]]:
    folder = (root / "outputs" / command / "latest").resolve()
    return folder, Record.read(folder / "record").facts


def weights(path: Path) -> torch.Tensor:
    found: torch.Tensor = torch.load(path, weights_only=False)["state_dict"]["net.1.weight"]
    return found


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take half of a run of three epochs; tests/test_ensemble.py looks at that of an ensemble."""
    monkeypatch.setattr("diagnose.report.write.draw_panels", lambda picture: Drawn("medium", ()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["seeds", "bootstrap"])
def test_members_are_trained_and_can_be_evaluated_again(kind: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("train", *TINY, f"ensemble={kind}", "ensemble.members=3") in (0, 1)
    folder, facts = latest(tmp_path)
    assert [row["role"] for row in facts["ensemble"]["rows"]] == ["member"] * 3 + ["mean", "vote"]
    assert facts["ensemble"]["kind"] == kind
    one, every = facts["ensemble"]["cost"]["train_seconds"]
    assert every > one > 0
    assert "member 3   seed 9, 3 epochs" in capsys.readouterr().out
    files = [folder / facts["run"]["checkpoint"], *sorted(folder.glob("checkpoints/member-*/checkpoints/epoch*.ckpt"))]
    assert len(files) == 3
    assert not torch.equal(weights(files[0]), weights(files[1]))
    listed = ",".join(map(str, files))
    assert cli("evaluate", f"ckpt_path=[{listed}]", "ensemble=checkpoints", "layers=[]") in (0, 1)
    again = latest(tmp_path, "evaluate")[1]
    assert again["evaluation"]["test"]["log_loss"] == pytest.approx(facts["evaluation"]["test"]["log_loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "names"), [("snapshot", "snapshot"), ("heads", "head"), ("mc_dropout", "pass")])
def test_one_run_gives_several_members(kind: str, names: str, cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *TINY, f"ensemble={kind}", "ensemble.members=3") in (0, 1)
    folder, facts = latest(tmp_path)
    found = facts["ensemble"]
    assert [row["name"] for row in found["rows"] if row["role"] == "member"] == [f"{names} {k}" for k in (1, 2, 3)]
    assert found["disagreement"]["predictive_entropy"] >= found["disagreement"]["expected_entropy"]
    again = {"snapshot": None, "heads": "ensemble=heads", "mc_dropout": "ensemble=mc_dropout"}[kind]
    if again is not None:
        assert cli("evaluate", f"ckpt_path={folder / facts['run']['checkpoint']}", again, "ensemble.members=3", "layers=[]") in (0, 1)
        assert latest(tmp_path, "evaluate")[1]["ensemble"]["rows"] == found["rows"]
    else:
        rate = Record.read(folder / "record").series("lr").value[:, 0]
        assert len(list(folder.glob("checkpoints/snapshot-*.ckpt"))) == 3
        assert rate[0] == max(rate)
        assert found["cost"]["train_seconds"][0] == found["cost"]["train_seconds"][1]


@pytest.mark.slow
def test_values_are_averaged(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *TINY, "data=diabetes", "ensemble=heads", "ensemble.members=2") in (0, 1)
    found = latest(tmp_path)[1]["ensemble"]
    assert [row["name"] for row in found["rows"]] == ["head 1", "head 2", "mean"]
    assert set(found["average"]) == {"rmse", "mae"}


@pytest.mark.slow
def test_a_member_that_breaks_is_named(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ensembles.trained

    def breaking(job: Any, folder: Path, data: Any, index: int) -> Any:
        if index == 1:
            raise RuntimeError("no memory\nat all")
        return real(job, folder, data, index)

    monkeypatch.setattr(ensembles, "trained", breaking)
    assert cli("train", *TINY, "ensemble=seeds", "ensemble.members=3") in (0, 1)
    found = latest(tmp_path)[1]["ensemble"]
    assert found["failed"] == {"member 2": "RuntimeError: no memory"}
    assert [row["name"] for row in found["rows"]] == ["member 1", "member 3", "mean", "vote"]


def test_a_bootstrap_sample_keeps_the_classes_and_the_other_parts() -> None:
    data = Bundled("iris", batch_size=16)
    other = data.reseeded(5, bootstrap=True)
    x, y = data.part("train").tensors
    drawn, labels = other.part("train").tensors
    assert torch.equal(torch.bincount(labels), torch.bincount(y))
    known = {tuple(row) for row in x.tolist()}
    assert {tuple(row) for row in drawn.tolist()} < known
    for part in ("val", "test"):
        assert torch.equal(other.part(part).tensors[0], data.part(part).tensors[0])
    share = len(np.unique(drawn.numpy(), axis=0)) / len(known)
    assert share == pytest.approx(1 - 1 / np.e, abs=0.12)  # of the samples that a bootstrap sample holds
    assert next(iter(data.reseeded(5).train_dataloader()))[1].tolist() != next(iter(data.train_dataloader()))[1].tolist()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ensemble=seeds", "ensemble.members=1"], "ensemble.members must be a whole number, at least 2, got 1"),
        (["ensemble=seeds", "ensemble.kind=forest"], "ensemble.kind must be one of seeds, bootstrap, snapshot, heads, mc_dropout"),
        (["ensemble=checkpoints"], "ensemble=checkpoints is for evaluate ckpt_path=[A,B,C]"),
        (["ensemble=mc_dropout", "model.dropout=0.0"], "has no nn.Dropout with p above 0: each pass would give the same"),
        (["ensemble=heads", "model=autoencoder", "model.code=2"], "the network has no linear layer at its end"),
        (["ensemble=snapshot", "scheduler=cosine", "scheduler.cycles=5"], "ensemble=snapshot needs scheduler=cyclic, got 'cosine'"),
        (["ensemble=snapshot", "scheduler.cycles=3"], "ensemble.members=5 snapshots need as many cycles, got scheduler.cycles=3"),
        (["ensemble=snapshot", "callbacks.snapshots=null"], "callbacks.snapshots is not there"),
        (["ensemble=snapshot", "callbacks=ema"], "ensemble=snapshot and callbacks.averaging: an average over cycles is no snapshot"),
        (
            ["ensemble=snapshot", "callbacks.early_stopping={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss}"],
            "ensemble=snapshot trains every cycle to its end, and callbacks.early_stopping may stop before",
        ),
        (["ensemble=bootstrap", "ckpt_path=a.ckpt"], "ensemble=bootstrap cannot be resumed from one checkpoint; leave ckpt_path out"),
        (["ensemble=seeds", "trainer.devices=2"], "ensemble=seeds trains on one device, got trainer.devices=2"),
    ],
)
def test_what_cannot_work_is_refused(words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("train", "data=iris", "trainer.accelerator=cpu", *words) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) <= 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ckpt_path=[a,b]", "ensemble=seeds"], "evaluate has ensemble=checkpoints, mc_dropout, heads, got 'seeds'"),
        (["ckpt_path=a", "ensemble=checkpoints"], "ensemble=checkpoints needs at least two checkpoints, ckpt_path=[A,B,C]; got a"),
        (["ckpt_path=[a,b]", "ensemble=mc_dropout"], "ensemble=mc_dropout needs one checkpoint, ckpt_path=FILE; got [a,b]"),
        (["predictions=a.csv", "ensemble=checkpoints"], "ensemble=checkpoints needs ckpt_path=[A,B,C]"),
        (["ckpt_path=a", "ensemble=mc_dropout", "ensemble.members=one"], "ensemble.members must be a whole number, at least 2, got 'one'"),
        (["ckpt_path=[a,b]", "ensemble=checkpoints"], "there is no checkpoint 'a'"),
    ],
)
def test_words_of_evaluate_that_cannot_work_are_refused(words: list[str], text: str, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("evaluate", *words) == 2
    assert text in capsys.readouterr().err


def test_a_search_is_for_one_model(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("tune", "data=iris", "ensemble=seeds", "tune.trials=1") == 2
    assert "tune searches for one model; leave ensemble out" in capsys.readouterr().err
