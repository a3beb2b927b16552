from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from diagnose.callbacks.confusion_matrix import ConfusionMatrix
from diagnose.callbacks.instrument import NotMonitored
from diagnose.callbacks.ranks import Share, share_of
from tests.ports import held_port

X = torch.randn(61, 4, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
LOADER = DataLoader(TensorDataset(X, Y), batch_size=16)
OTHER = DataLoader(TensorDataset(X[:20], Y[:20]), batch_size=16)


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        F.cross_entropy(self.net(batch[0]), batch[1])

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


def trainer(callback: lightning.Callback, **options: Any) -> lightning.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(accelerator="cpu", callbacks=[callback], **{**quiet, **options})


def expected(module: Module, n: int = 61) -> np.ndarray:
    with torch.no_grad():
        guess = module.net(X[:n]).argmax(1)
    table: np.ndarray = metrics.confusion_matrix(Y[:n], guess, labels=range(3))
    return table


def test_a_validation_is_counted(tmp_path: Path) -> None:
    callback, module = ConfusionMatrix(dirpath=tmp_path / "out", class_names=["a", "=b", "c"]), Module()
    trainer(callback).validate(module, LOADER, verbose=False)
    assert np.array_equal(callback.matrices["val"], expected(module))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["val.csv", "val.json", "val.png"]
    saved = json.loads((tmp_path / "out/val.json").read_text())
    assert saved == {"class_names": ["a", "=b", "c"], "counts": expected(module).tolist(), "n": 61}
    rows = list(csv.reader((tmp_path / "out/val.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["true \\ predicted", "a", "'=b", "c"]
    assert (tmp_path / "out/val.png").read_bytes()[:4] == b"\x89PNG"


def test_each_epoch_starts_at_zero_and_the_sanity_check_is_left_out(tmp_path: Path) -> None:
    callback = ConfusionMatrix(dirpath=tmp_path / "out")
    module = Module()
    trainer(callback, max_epochs=2).fit(module, LOADER, LOADER)
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.json")) == ["val-epoch0000-step000004", "val-epoch0001-step000008"]
    for file in (tmp_path / "out").glob("*.json"):
        assert json.loads(file.read_text())["n"] == 61
    assert np.array_equal(callback.matrices["val"], expected(module))


def test_loaders_are_kept_apart() -> None:
    callback, module = ConfusionMatrix(), Module()
    trainer(callback).test(module, [LOADER, OTHER], verbose=False)
    assert np.array_equal(callback.matrices["test"], expected(module))
    assert np.array_equal(callback.matrices["test-1"], expected(module, 20))


def test_what_a_step_returns_and_what_extract_gives() -> None:
    class Returning(Module):
        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return {"preds": self.net(batch[0]).argmax(1), "target": batch[1]}

    callback, module = ConfusionMatrix(), Returning()
    trainer(callback).test(module, LOADER, verbose=False)
    assert np.array_equal(callback.matrices["test"], expected(module))
    own = ConfusionMatrix(extract=lambda output, batch: (output["preds"], 2 - batch[1]))
    trainer(own).test(module, LOADER, verbose=False)
    assert np.array_equal(own.matrices["test"], expected(module)[::-1])


def test_a_task_without_classes_switches_it_off(caplog: pytest.LogCaptureFixture) -> None:
    class Regression(Module):
        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            F.mse_loss(self.net(batch[0])[:, 0], batch[1].float())

    callback = ConfusionMatrix()
    with caplog.at_level(logging.WARNING, "diagnose"):
        trainer(callback).test(Regression(), LOADER, verbose=False)
    assert callback.matrices == {}
    assert (
        caplog.text.count("ConfusionMatrix does not work here: a confusion matrix needs one class per sample, this task is regression") == 1
    )
    with pytest.raises(NotMonitored, match="this task is regression"):
        trainer(ConfusionMatrix(strict=True)).test(Regression(), LOADER, verbose=False)


def test_a_folder_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    callback = ConfusionMatrix(dirpath=tmp_path / "file" / "out")
    with caplog.at_level(logging.WARNING, "diagnose"):
        trainer(callback, max_epochs=1).fit(Module(), LOADER, LOADER)
    assert "switched itself off" in caplog.text


def test_nothing_stays_behind_when_a_step_fails() -> None:
    class Broken(Module):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            raise RuntimeError("my own error")

    callback = ConfusionMatrix()
    with pytest.raises(RuntimeError, match="my own error"):
        trainer(callback).validate(Broken(), LOADER, verbose=False)
    assert torch.overrides._get_current_function_mode_stack() == []  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("tokens", [1, 4])
def test_samples_that_a_sampler_repeats_are_counted_once(rank: int, tokens: int) -> None:
    """Seven samples on three ranks are nine places: the last of ranks 1 and 2 repeat samples 0 and 1."""
    data = TensorDataset(torch.arange(7))
    loader = DataLoader(data, batch_size=2, sampler=DistributedSampler(data, num_replicas=3, rank=rank, shuffle=False))
    share = share_of(loader)
    assert share is not None
    kept: list[int] = []
    for (batch,) in loader:
        rows = batch.repeat_interleave(tokens)
        kept += rows[: share.own(len(rows))].tolist()
    assert kept == [sample for sample in range(rank, 7, 3) for _ in range(tokens)]


def test_a_sampler_that_repeats_nothing_has_no_share() -> None:
    data = TensorDataset(torch.arange(7))
    assert share_of(LOADER) is None
    assert share_of([1, 2]) is None
    assert share_of(DataLoader(data, sampler=DistributedSampler(data, num_replicas=3, rank=1, drop_last=True))) is None


def test_rows_that_do_not_belong_to_samples_are_all_counted() -> None:
    assert Share(batch=4, total=4, unique=3).own(7) == 7


@pytest.mark.slow
def test_the_counts_of_two_processes_are_summed(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "two.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import lightning, torch\nfrom test_confusion_matrix import LOADER, ConfusionMatrix, Module\n"
        "if __name__ == '__main__':\n"
        "    callback = ConfusionMatrix(dirpath='out')\n"
        "    trainer = lightning.Trainer(accelerator='cpu', devices=2, strategy='ddp', logger=False, enable_progress_bar=False,\n"
        "                                callbacks=[callback])\n"
        "    trainer.test(Module(), LOADER, verbose=False)\n"
        "    torch.distributed.destroy_process_group()\n"
    )
    root = str(Path(__file__).parents[2])
    with held_port() as port:
        environment = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "PATH": "", "MASTER_PORT": port}
        done = subprocess.run([sys.executable, "two.py"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/test.json").read_text())["counts"] == expected(Module()).tolist()
