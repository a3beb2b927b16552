"""Snapshots: after which steps, with which weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import SnapshotEnsemble
from tests.callbacks.identity import QUIET


class Counting(lightning.LightningModule):
    """Its only weight counts the optimizer steps: the gradient is -1 and the rate 1."""

    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Parameter(torch.zeros(()))
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = -self.count + 0 * batch[0].sum()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(callback: SnapshotEnsemble, root: Path, batches: int = 5, epochs: int = 4, **options: Any) -> None:
    loader = DataLoader(TensorDataset(torch.zeros(batches, 1)))
    settings = {**QUIET, "max_epochs": epochs, "logger": False, "enable_checkpointing": False, "default_root_dir": root, **options}
    lightning.Trainer(**settings, callbacks=[callback]).fit(Counting(), loader)


def counts(callback: SnapshotEnsemble) -> list[float]:
    return [float(torch.load(path, weights_only=True)["state_dict"]["count"]) for path in callback.paths]


@pytest.mark.parametrize(
    ("cycles", "options", "steps"),
    [
        (4, {}, [5, 10, 15, 20]),
        (3, {}, [7, 14, 20]),
        (2, {"accumulate_grad_batches": 2, "batches": 6}, [6, 12]),
        (1, {"max_steps": 7}, [7]),
    ],
)
def test_the_weights_are_those_of_the_end_of_each_cycle(cycles: int, options: dict[str, Any], steps: list[int], tmp_path: Path) -> None:
    callback = SnapshotEnsemble(cycles, dirpath=tmp_path / "own")
    fit(callback, tmp_path, **options)
    assert counts(callback) == steps
    assert [Path(path).name for path in callback.paths] == [f"snapshot-{k + 1}.ckpt" for k in range(cycles)]
    other = SnapshotEnsemble(cycles)
    other.load_state_dict(callback.state_dict())
    assert other.paths == callback.paths


def test_a_run_that_ends_early_has_fewer(tmp_path: Path) -> None:
    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
            trainer.should_stop = trainer.global_step >= 12

    callback = SnapshotEnsemble(4)
    loader = DataLoader(TensorDataset(torch.zeros(5, 1)))
    settings = {**QUIET, "max_epochs": 4, "logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
    lightning.Trainer(**settings, callbacks=[callback, Stop()]).fit(Counting(), loader)
    assert counts(callback) == [5, 10]
    assert Path(callback.paths[0]).parent == tmp_path / "snapshots"


def test_more_cycles_than_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 optimizer steps cannot be cut into 5 cycles"):
        fit(SnapshotEnsemble(5), tmp_path, batches=3, epochs=1)
    with pytest.raises(ValueError, match="cycles must be a whole number, at least 1, got 0"):
        SnapshotEnsemble(0)
