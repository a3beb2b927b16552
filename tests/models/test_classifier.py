"""The module that the command line trains."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.nn import functional as F

from diagnose.data.bundled import Bundled
from diagnose.models.classifier import SCHEDULERS, Classifier
from diagnose.models.networks import mlp


def fitted(scheduler: dict[str, Any] | None = None, epochs: int = 2) -> tuple[Trainer, Classifier, Bundled]:
    data = Bundled("iris", batch_size=16)
    module = Classifier(mlp(data.inputs, data.outputs, hidden=[8], dropout=0), partial(torch.optim.Adam, lr=0.01), scheduler)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    return trainer, module, data


def test_it_logs_loss_and_accuracy_per_stage_over_samples() -> None:
    trainer, module, data = fitted()
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} <= set(trainer.callback_metrics)
    x, y = data.part("val").tensors
    module.eval()
    with torch.no_grad():
        logits = module(x)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-5)
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(float((logits.argmax(1) == y).float().mean()))
    tested = trainer.test(module, datamodule=data, verbose=False)[0]
    assert set(tested) == {"test/loss", "test/accuracy"}


def last_rate(trainer: Trainer) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_rate_follows_the_scheduler() -> None:
    assert last_rate(fitted()[0]) == 0.01
    assert last_rate(fitted({"name": "cosine"})[0]) == pytest.approx(0, abs=1e-9)
    assert last_rate(fitted({"name": "onecycle", "warmup": 0.5})[0]) < 0.01 / 25
    plateau = fitted({"name": "plateau", "factor": 0.3, "patience": 0, "min_lr": 0.002, "threshold": 1e9}, epochs=3)[0]
    assert last_rate(plateau) == 0.002


def test_a_scheduler_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=f"scheduler.name must be one of {', '.join(SCHEDULERS)}, got 'linear'"):
        Classifier(mlp((4,), 3), torch.optim.Adam, {"name": "linear"})
