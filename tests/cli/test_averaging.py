"""Weight averaging and early stopping by configuration: the weights against means written out, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diagnose.cli import setup
from diagnose.cli.arguments import Arguments
from diagnose.cli.averaging import averaged
from diagnose.cli.job import prepare
from diagnose.namespace import Callback, LightningModule, Trainer
from diagnose.record import Record

Cli = Callable[..., int]
IRIS = ("data=iris", "model.hidden=[8]", "trainer.accelerator=cpu")


class History(Callback):
    """The weights after each optimizer step, and at the start of each epoch."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.starts: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.steps.append(copy.deepcopy(dict(pl_module.state_dict())))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.starts.append(copy.deepcopy(dict(pl_module.state_dict())))


def fitted(folder: Path, *words: str) -> tuple[History, LightningModule, Trainer]:
    settings = prepare(Arguments(command="train"), "train", [*IRIS, *words]).settings
    setup.prepare(settings)
    data = setup.data(settings)
    module = setup.module(settings, data)
    history = History()
    trainer = setup.trainer(settings, folder, [history, *setup.callbacks(settings, folder, module)], module)
    trainer.fit(module, datamodule=data)
    return history, module, trainer


def test_the_moving_average_is_what_is_kept(tmp_path: Path) -> None:
    history, module, trainer = fitted(tmp_path, "callbacks=ema", "callbacks.averaging.decay=0.8", "trainer.max_epochs=4")
    weights = [step["net.1.weight"] for step in history.steps]
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.8 * expected + 0.2 * weight
    assert torch.allclose(module.state_dict()["net.1.weight"], expected, atol=1e-6)
    last: Any = trainer.checkpoint_callback
    kept = torch.load(last.last_model_path, weights_only=True)["state_dict"]
    assert torch.allclose(kept["net.1.weight"], expected, atol=1e-6)
    assert torch.allclose(kept["net.2.running_mean"], module.state_dict()["net.2.running_mean"])


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_the_mean_of_the_last_epochs_is_what_is_tested(norm: str, tmp_path: Path) -> None:
    words = ("callbacks=swa", "callbacks.averaging.swa_epoch_start=3", "trainer.max_epochs=6", f"model.norm={norm}")
    history, module, trainer = fitted(tmp_path, *words)
    expected = torch.stack([start["net.1.weight"] for start in history.starts[2:6]]).mean(0)  # at the start of epochs 3 to 6
    place = averaged(trainer, tmp_path)
    kept = torch.load(place, weights_only=True)["state_dict"]
    assert torch.allclose(kept["net.1.weight"], expected, atol=1e-6)
    assert torch.equal(module.state_dict()["net.1.weight"], kept["net.1.weight"])


def test_a_run_tests_the_averaged_weights(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *IRIS, "callbacks=swa", "trainer.max_epochs=4", "samples=0") in (0, 1)
    folder = (tmp_path / "outputs" / "train" / "latest").resolve()
    record = Record.read(folder / "record")
    assert record.facts["run"]["checkpoint"] == "checkpoints/averaged.ckpt"
    assert (folder / "checkpoints" / "averaged.ckpt").is_file()
    assert cli("train", *IRIS, "callbacks=ema", "callbacks.averaging.decay=0.5", "trainer.max_epochs=2", "samples=0") in (0, 1)


def test_training_ends_when_the_loss_has_not_fallen_for_so_many_epochs(cli: Cli, tmp_path: Path) -> None:
    cli("train", *IRIS, "optimizer=sgd", "optimizer.lr=1e-30", "callbacks.early_stopping.patience=2", "model.norm=none", "samples=0")
    run = Record.read((tmp_path / "outputs" / "train" / "latest").resolve() / "record").facts["run"]
    assert run["epochs_done"] == 3  # the first sets the best, two more do not better it
    assert "val/loss" in run["stopped"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["callbacks=ema", "callbacks.averaging.decay=1.0"], "callbacks.averaging.decay must be at least 0 and below 1, got 1.0"),
        (["callbacks=ema", "callbacks.averaging.update_every_n_steps=0"], "update_every_n_steps must be a whole number, at least 1, got 0"),
        (["callbacks=ema", "callbacks.averaging.decay=0.999"], "callbacks.averaging.decay=0.999 is too slow for 240 optimizer steps: at"),
        (["callbacks=ema", "+trainer.max_steps=20"], "is too slow for 20 optimizer steps"),
        (
            ["callbacks=swa", "callbacks.early_stopping={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss}"],
            "takes its mean when the last epoch has been trained, which callbacks.early_stopping may not let happen",
        ),
        (["callbacks=swa", "+trainer.max_steps=50"], "callbacks.averaging counts epochs, trainer.max_steps=50 could end before them"),
        (["callbacks=swa", "trainer.max_epochs=null"], "callbacks.averaging needs trainer.max_epochs, got None"),
        (["callbacks=swa", "++callbacks.averaging.swa_epoch_start=50"], "swa_epoch_start=50 comes after the last of trainer.max_epochs=40"),
        (
            ["callbacks=swa", "+callbacks.mean={_target_: lightning.pytorch.callbacks.WeightAveraging}"],
            "callbacks.averaging and callbacks.mean would both replace the weights; leave one out",
        ),
        (["model=autoencoder", "model.code=2", "data.input_noise=0.1"], "it would learn the noise too, as its inputs are its targets"),
        (["callbacks=clipping", "trainer.gradient_clip_val=1.0"], "would both clip"),
    ],
)
def test_what_cannot_work_is_refused(words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("train", "data=iris", "trainer.accelerator=cpu", "trainer.max_epochs=40", *words) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) <= 6
    assert list(tmp_path.iterdir()) == []


def test_noise_on_tokens_is_refused(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("what goes around comes around. " * 40)
    assert cli("train", "data=tokens", f"data.path={tmp_path / 't.txt'}", "model=gru", "+data.input_noise=0.1") == 2
    assert "data.input_noise=0.1 needs numbers, the data have tokens; use model.dropout" in capsys.readouterr().err
