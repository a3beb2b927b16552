"""Weight averaging of a run: what cannot work is refused before training, and the averaged weights are those that are tested."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from diagnose.cli.arguments import UsageError
from diagnose.data.parts import Parts
from diagnose.namespace import LightningDataModule, Trainer

LEFT = 0.1  # most of the first weights that an average may still hold at the end


def check(config: dict[str, Any], data: LightningDataModule) -> None:
    """Refuse a weight averaging that cannot do what its name says.

    Raises:
        UsageError: It would not be finished, or hold mostly the weights of the first step; or there are two.
    """
    callbacks = {name: node for name, node in (config.get("callbacks") or {}).items() if node and "_target_" in node}
    kinds = {name: str(node["_target_"]).rpartition(".")[2] for name, node in callbacks.items()}
    averaging = [name for name, kind in kinds.items() if kind.endswith("WeightAveraging")]
    if len(averaging) > 1:
        raise UsageError(f"callbacks.{averaging[0]} and callbacks.{averaging[1]} would both replace the weights; leave one out")
    for name in averaging:
        if kinds[name] == "EMAWeightAveraging":
            _check_moving(config, data, name, callbacks[name])
        elif kinds[name] == "StochasticWeightAveraging":
            stopping = next((other for other, kind in kinds.items() if kind == "EarlyStopping"), None)
            _check_stochastic(config["trainer"], name, callbacks[name], stopping)


def _check_moving(config: dict[str, Any], data: LightningDataModule, name: str, node: dict[str, Any]) -> None:
    decay, every = node.get("decay", 0.999), node.get("update_every_n_steps", 1)
    if not isinstance(decay, int | float) or not 0 <= decay < 1:
        raise UsageError(f"callbacks.{name}.decay must be at least 0 and below 1, got {decay!r}")
    if not isinstance(every, int) or every < 1:
        raise UsageError(f"callbacks.{name}.update_every_n_steps must be a whole number, at least 1, got {every!r}")
    if not isinstance(data, Parts):  # how many batches another data module gives may not be known before it is set up
        return
    steps = optimizer_steps(config["trainer"], data)
    updates = max(0, steps - int(node.get("update_starting_at_step") or 0)) / every
    if (left := decay**updates) > LEFT:
        most = LEFT ** (1 / updates) if updates else 0.0
        raise UsageError(
            f"callbacks.{name}.decay={decay} is too slow for {steps} optimizer steps: at the end {100 * left:.0f} % of the average would "
            f"still be the weights of its start\nchoose at most {math.floor(1000 * most) / 1000}, or train longer"
        )


def _check_stochastic(trainer: dict[str, Any], name: str, node: dict[str, Any], stopping: str | None) -> None:
    start, epochs = node.get("swa_epoch_start", 0.8), trainer.get("max_epochs")
    if stopping:
        raise UsageError(
            f"callbacks.{name} takes its mean when the last epoch has been trained, which callbacks.{stopping} may not let happen\n"
            f"set callbacks.{stopping}=null, or choose callbacks=ema"
        )
    if (steps := trainer.get("max_steps")) is not None and steps != -1:
        raise UsageError(f"callbacks.{name} counts epochs, trainer.max_steps={steps} could end before them; use trainer.max_epochs")
    if epochs is None or epochs < 1:
        raise UsageError(f"callbacks.{name} needs trainer.max_epochs, got {epochs!r}")
    if isinstance(start, int) and not isinstance(start, bool) and start > epochs:
        raise UsageError(f"callbacks.{name}.swa_epoch_start={start} comes after the last of trainer.max_epochs={epochs}")


def optimizer_steps(trainer: dict[str, Any], data: Parts) -> int:
    """Optimizer steps of a whole run, without early stopping."""
    share = trainer.get("limit_train_batches", 1.0)
    batches: int = len(data.train_dataloader())
    batches = int(share * batches) if isinstance(share, float) else min(batches, share)
    steps = -(-batches // int(trainer.get("accumulate_grad_batches") or 1)) * int(trainer.get("max_epochs") or 1)
    most = trainer.get("max_steps")
    return steps if most in (None, -1) else min(steps, int(most or 0))


def averaged(trainer: Trainer, folder: Path) -> str:
    """Keep the weights that a finished `StochasticWeightAveraging` left in the module: no checkpoint of the run holds them.

    Returns:
        The checkpoint, ``""`` where there is nothing of the kind.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    stochastic = any(type(c).__name__ == "StochasticWeightAveraging" for c in callbacks)
    if not stochastic or trainer.interrupted or trainer.current_epoch < (trainer.max_epochs or 0):
        return ""
    place = folder / "checkpoints" / "averaged.ckpt"
    trainer.save_checkpoint(place, weights_only=True)
    return str(place)
