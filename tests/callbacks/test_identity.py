"""With every callback on, a training ends in the same bits as without, whatever kind of training it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import nn
from torch.backends.cpu import get_cpu_capability

from tests.callbacks import jobs_batches, jobs_optimizers, jobs_settings
from tests.callbacks.identity import Run, differences, outcome, watchers
from tests.callbacks.jobs import JOBS
from tests.callbacks.trainings import Module, fit, noisy, table

SLOW = jobs_optimizers.job | jobs_settings.job | jobs_batches.job


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in JOBS])
def test_watching_changes_nothing(name: str, tmp_path: Path) -> None:
    bare = outcome(JOBS[name], [], tmp_path / "run")
    assert differences(bare, outcome(JOBS[name], watchers(), tmp_path / "run")) == []
    assert differences(bare, outcome(JOBS[name], watchers(every_n_steps=1), tmp_path / "run")) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.skipif(get_cpu_capability() == "DEFAULT", reason="without vector instructions, inductor of torch 2.13 makes C++ that is wrong")
def test_watching_changes_nothing_that_inductor_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))  # what other processes or versions left is not taken

    def job(run: Run) -> None:
        inner: Any = torch.compile(nn.Sequential(nn.Linear(6, 8), nn.GELU()))
        run.fit(Module(nn.Sequential(inner, nn.Linear(8, 3))), run.loader(table(), batch_size=8), max_epochs=1)

    bare = outcome(job, [], tmp_path / "run")
    assert differences(bare, outcome(job, watchers(every_n_steps=1), tmp_path / "run")) == []


class Draws(lightning.Callback):
    def on_train_batch_end(self, *args: Any) -> None:
        torch.rand(1)


class LooksInTrainMode(lightning.Callback):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        state = torch.get_rng_state()
        with torch.no_grad():
            pl_module(batch[0])
        torch.set_rng_state(state)


class LeavesEvalMode(lightning.Callback):
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.net.eval()


class ReadsTheLoader(lightning.Callback):
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        next(iter(trainer.train_dataloader))


class Clips(lightning.Callback):
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        nn.utils.clip_grad_norm_(pl_module.parameters(), 0.01)


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (Draws, "random numbers, torch"),
        (LooksInTrainMode, "weights and buffers"),
        (LeavesEvalMode, "modes"),
        (ReadsTheLoader, "batches drawn"),
        (Clips, "optimizers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_disturbs_a_training_is_caught(kind: type[lightning.Callback], part: str, tmp_path: Path) -> None:
    def job(run: Run) -> None:
        fit(run, Module(noisy(), torch.optim.Adam))

    bare = outcome(job, [], tmp_path / "run")
    assert differences(bare, outcome(job, [], tmp_path / "run")) == [], "the comparison itself is not deterministic"
    assert f"0: {part}" in differences(bare, outcome(job, [kind()], tmp_path / "run"))
