"""Going on from a checkpoint, and options that reach Lightning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diagnose.record import Record
from tests.ports import held_port

pytestmark = pytest.mark.usefixtures("_own_environment")
Cli = Callable[..., int]
IRIS = ("train", "data=iris", "model.hidden=[8]", "trainer.accelerator=cpu")


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGNOSE_RESUME_FROM", "")


class Planter:
    """Leaves a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, ("planted", "w")


def latest(root: Path) -> Path:
    return (root / "outputs" / "train" / "latest").resolve()


def test_a_run_goes_on_where_the_latest_ended(cli: Cli, trained: Path, tmp_path: Path) -> None:
    assert cli(*IRIS, "trainer.max_epochs=4", "ckpt_path=outputs/train/latest/checkpoints/last.ckpt") in (0, 1)
    assert latest(tmp_path) != trained
    record = Record.read(latest(tmp_path) / "record")
    assert record.facts["run"]["epochs_done"] == 4
    assert record.facts["run"]["interrupted"] == ""
    steps = Record.read(trained / "record").facts["run"]["steps_done"]
    assert int(record.series("train/loss").step.min()) >= steps


@pytest.mark.slow
def test_several_processes_go_on_from_the_same_checkpoint(trained: Path, tmp_path: Path) -> None:
    words = ("trainer.max_epochs=3", "trainer.devices=2", "ckpt_path=outputs/train/latest/checkpoints/last.ckpt")
    command = [sys.executable, "-m", "diagnose", *IRIS, *words]
    with held_port() as port:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "MASTER_PORT": port})
    assert done.returncode in (0, 1), done.stderr
    assert Record.read(latest(tmp_path) / "record").facts["run"]["epochs_done"] == 3
    assert len(list(tmp_path.glob("outputs/train/*/*/.hydra"))) == 2


def test_a_checkpoint_of_another_model_is_refused_before_anything_is_made(
    cli: Cli, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("train", "data=iris", "model.hidden=[9]", f"ckpt_path={trained}/checkpoints/last.ckpt") == 2
    printed = capsys.readouterr().err
    assert "belongs to another model than the config describes:\nsize mismatch for net.1.weight" in printed
    assert len(printed.splitlines()) <= 6
    assert latest(tmp_path) == trained


def test_a_checkpoint_that_would_run_code_is_refused(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "callbacks": Planter()}, tmp_path / "epoch=3-step=40.ckpt")
    assert cli(*IRIS, "ckpt_path=epoch=3-step=40.ckpt") == 2
    assert "is refused: it holds more than weights, or is damaged" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["epoch=3-step=40.ckpt"]


def test_layers_are_looked_up_before_the_training(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(*IRIS, "layers=[net.1,nte.2]") == 2
    assert "layers: no layer matches 'nte.2'; there are net, net.0" in capsys.readouterr().err
    assert cli(*IRIS, "projection=lda") == 2
    assert "projection: expected a map by t-SNE, PCA, UMAP, got 'lda'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["norm", "value", "none"])
def test_gradients_are_clipped_as_the_config_says(algorithm: str, cli: Cli, tmp_path: Path) -> None:
    clip = ("trainer.gradient_clip_val=null",) if algorithm == "none" else (f"trainer.gradient_clip_algorithm={algorithm}", CLIP)
    cli(*IRIS, "trainer.max_epochs=1", *clip)
    record = Record.read(latest(tmp_path) / "record")
    run = record.facts["run"]
    weights = sum(p.numel() for p in torch.load(checkpoint(tmp_path), weights_only=True)["state_dict"].values())
    if algorithm == "none":
        assert run["clip_val"] is None
        return
    most = 0.01 if algorithm == "norm" else 0.01 * weights**0.5
    assert (run["clip_val"], run["clip_algorithm"]) == (0.01, algorithm)
    assert (record.series("grad_norm/clipped").value <= most * 1.001).all()
    assert (record.series("grad_norm/clipped").value < record.series("grad_norm/total").value).all()


CLIP = "trainer.gradient_clip_val=0.01"


def checkpoint(root: Path) -> Path:
    return latest(root) / "checkpoints" / "last.ckpt"


def test_the_reason_of_an_early_stop_stands_in_the_report(cli: Cli, tmp_path: Path) -> None:
    cli(*IRIS, "trainer.max_epochs=30", "callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1")
    reason = Record.read(latest(tmp_path) / "record").facts["run"]["stopped"]
    assert "val/loss did not improve" in reason
    assert "val/loss did not improve" in (latest(tmp_path) / "report.md").read_text()


def test_options_of_ones_own_from_an_empty_folder(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "wide.yaml").write_text("_target_: own_nets.Wide\nrate: 0.1\n")
    (tmp_path / "own_nets.py").write_text(WIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("train", "--config-dir", "mine", "+model=wide", "data=iris", "allow_targets=[own_nets]", "trainer.accelerator=cpu")
    assert cli(*words, "trainer.max_epochs=1", "callbacks=no_early_stopping") in (0, 1)
    record = Record.read(latest(tmp_path) / "record")
    assert record.facts["config"]["model"] == {"_target_": "own_nets.Wide", "rate": 0.1}
    assert record.facts["evaluation"]["test"]["n"] == 30


WIDE = """
import torch
from lightning.pytorch import LightningModule

class Wide(LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.layer, self.rate = torch.nn.Linear(4, 3), rate
    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
    def validation_step(self, batch, index):
        self.log("val/loss", self.training_step(batch, index))
    def test_step(self, batch, index):
        self.training_step(batch, index)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)
"""
