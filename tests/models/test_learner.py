"""The module that the command line trains."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.nn import functional as F

from diagnose.data.bundled import Bundled
from diagnose.evaluation import evaluate
from diagnose.models.learner import Learner
from diagnose.models.networks import mlp


def fitted(
    scheduler: dict[str, Any] | None = None,
    epochs: int | None = 2,
    name: str = "iris",
    settings: dict[str, Any] | None = None,
    resume: Path | None = None,
    **options: Any,
) -> tuple[Trainer, Learner, Bundled]:
    data = Bundled(name, batch_size=16)
    net = mlp(data.inputs, data.outputs, hidden=[8], dropout=0)
    scale = data.target_scale
    module = Learner(net, partial(torch.optim.Adam, lr=0.01), scheduler, task=data.task, target_scale=scale, **options)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings or {},
    )
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None or None)
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


def test_values_are_learned_standardised_and_evaluated_in_their_own_unit() -> None:
    trainer, module, data = fitted(name="diabetes", epochs=8)
    x, y = data.part("test").tensors
    module.eval()
    with torch.no_grad():
        z = module(x)
    mean, std = (torch.tensor(s) for s in data.target_scale)
    tested = trainer.test(module, datamodule=data, verbose=False)[0]
    assert tested["test/loss"] == pytest.approx(float(F.mse_loss(z, (y - mean) / std)), rel=1e-5)
    assert tested["test/mae"] == pytest.approx(float((z * std + mean - y).abs().mean()), rel=1e-5)
    found = evaluate(module, data.test_dataloader()).metrics
    error = z * std + mean - y
    assert found["mae"] == pytest.approx(tested["test/mae"], rel=1e-4)
    assert found["rmse"] == pytest.approx(float(error.square().mean().sqrt()), rel=1e-4)
    assert found["r2"] == pytest.approx(float(1 - error.square().sum() / (y - y.mean()).square().sum()), rel=1e-4)
    assert torch.allclose(module.predict_step((x, y), 0), z * std + mean, atol=1e-3)


def test_two_classes_with_one_output() -> None:
    loss = torch.nn.BCEWithLogitsLoss()
    module = Learner(torch.nn.Linear(2, 1), torch.optim.Adam, loss=loss)
    x, y = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    step = module.training_step((x, y), 0)
    assert float(step.detach()) == pytest.approx(float(F.binary_cross_entropy_with_logits(module(x).squeeze(1), y.float()).detach()))


def last_rate(trainer: Trainer) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_rate_follows_the_scheduler() -> None:
    assert last_rate(fitted()[0]) == 0.01
    assert last_rate(fitted({"name": "cosine"})[0]) == pytest.approx(0, abs=1e-9)
    assert last_rate(fitted({"name": "onecycle", "warmup": 0.5})[0]) < 0.01 / 25
    plateau = fitted({"name": "plateau", "factor": 0.3, "patience": 0, "min_lr": 0.002, "threshold": 1e9}, epochs=3)[0]
    assert last_rate(plateau) == 0.002
    assert last_rate(fitted({"name": "step", "every": 1, "factor": 0.5}, epochs=3)[0]) == pytest.approx(0.01 / 8)
    assert last_rate(fitted({"name": "exponential", "final": 0.01})[0]) == pytest.approx(0.0001)
    assert last_rate(fitted({"name": "two_stage", "final": 0.003})[0]) == pytest.approx(0.00003)
    assert last_rate(fitted({"name": "warmup", "then": "constant"})[0]) == pytest.approx(0.01)


ENDS = {"exponential": 0.01 * 0.01, "two_stage": 0.01 * 0.003, "cosine": 0.0, "cyclic": 0.0, "warmup": 0.0, "onecycle": 0.01 / 25 / 1e4}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 18),  # six batches in each of three epochs
        ({"accumulate_grad_batches": 4}, 6),  # four batches, and the two that are left
        ({"accumulate_grad_batches": 4, "limit_train_batches": 5}, 6),
        ({"accumulate_grad_batches": 4, "max_steps": 5}, 5),
        ({"max_epochs": None, "max_steps": 7}, 7),
    ],
)
def test_a_schedule_ends_where_the_run_ends(name: str, settings: dict[str, Any], steps: int) -> None:
    own = {"max_epochs": 3, **settings}
    trainer = fitted({"name": name}, epochs=own.pop("max_epochs"), settings=own)[0]
    assert trainer.global_step == steps
    assert last_rate(trainer) == pytest.approx(ENDS[name], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", ENDS)
def test_a_run_that_is_resumed_for_longer_follows_the_longer_schedule(name: str, tmp_path: Path) -> None:
    fitted({"name": name})[0].save_checkpoint(tmp_path / "short.ckpt")
    trainer = fitted({"name": name}, epochs=4, resume=tmp_path / "short.ckpt")[0]
    assert trainer.global_step == 24
    assert last_rate(trainer) == pytest.approx(ENDS[name], rel=1e-6, abs=1e-12)


def test_weight_decay_can_spare_biases_and_norms() -> None:
    trainer = fitted(decay_all=False)[0]
    first, second = trainer.optimizers[0].param_groups
    assert [p.dim() > 1 for p in first["params"]] == [True] * 2
    assert [p.dim() == 1 for p in second["params"]] == [True] * 3
    assert second["weight_decay"] == 0


def test_a_task_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="task must be one of classes, tokens, values, reconstruction, got 'ranking'"):
        Learner(mlp((4,), 3), torch.optim.Adam, loss=torch.nn.MSELoss(), task="ranking")
