"""The LightningModule that the command line trains: a network, a loss on its logits, an optimizer and a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.models.losses import loss_named
from diagnose.models.schedules import forget_length, schedule
from diagnose.namespace import LightningModule

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler

TASKS = ("classes", "tokens", "values", "reconstruction")


class Learner(LightningModule):
    """A network that learns classes, next tokens, values, or its own inputs.

    It logs the loss of each stage (``train/loss``, ``val/loss``, ``test/loss``), and for classes and tokens the accuracy, for values the
    mean absolute error in their own unit (``val/mae``).

    Args:
        net: Gives logits or values of shape ``(n, outputs)`` for inputs of shape ``(n, ...)``; for tokens ``(n, steps, outputs)``.
        optimizer: Makes the optimizer from the parameters.
        scheduler: ``name`` and the options of a `schedule`.
        loss: On logits; by default cross-entropy.
        task: One of `TASKS`.
        target_scale: Mean and standard deviation of the values; the network learns them standardised.
        decay_all: Whether weight decay holds for biases and norms too.

    Raises:
        ValueError: A task that is not known, or a scheduler that is not known or has an option out of range.
        TypeError: An option that the scheduler does not have.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: dict[str, Any] | None = None,
        *,
        loss: nn.Module | None = None,
        task: str = "classes",
        target_scale: tuple[Sequence[float], Sequence[float]] = ((0.0,), (1.0,)),
        decay_all: bool = True,
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
        self.net = net
        self.loss = loss_named("auto", task) if loss is None else loss
        self.task, self.make_optimizer, self.decay_all = task, optimizer, decay_all
        self.schedule = dict(scheduler or {"name": "none"})
        self.register_buffer("target_mean", torch.tensor(target_scale[0], dtype=torch.float32))
        self.register_buffer("target_std", torch.tensor(target_scale[1], dtype=torch.float32))
        trial = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        schedule(trial, self.schedule.get("name", ""), 10, **self._schedule_options())

    def _schedule_options(self) -> dict[str, Any]:
        return {key: value for key, value in self.schedule.items() if key != "name"}

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output

    def _measure(self, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of an output, and what is logged beside it."""
        if self.task == "values":
            loss = self.loss(output, (y - self.target_mean) / self.target_std)
            return loss, {"mae": F.l1_loss(output.detach() * self.target_std + self.target_mean, y)}
        if self.task == "reconstruction":
            return self.loss(output, x), {}
        if output.shape[-1] == 1:
            right = ((output.squeeze(-1) > 0) == y).float().mean()
            return self.loss(output.squeeze(-1), y.float()), {"accuracy": right}
        logits = output.movedim(-1, 1)
        return self.loss(logits, y), {"accuracy": (logits.argmax(1) == y).float().mean()}

    def _step(self, batch: tuple[Tensor, Tensor], stage: str) -> tuple[Tensor, Tensor]:
        x, y = batch
        output = self(x)
        loss, logged = self._measure(output, x, y)
        values = {f"{stage}/{name}": value for name, value in {"loss": loss, **logged}.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(y))
        return loss, output

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "train")[0]

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor] | None:
        """Values are handed out in their own unit: the loss has seen them standardised."""
        output = self._step(batch, "test")[1]
        return {"preds": output * self.target_std + self.target_mean, "target": batch[1]} if self.task == "values" else None

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Logits, or values in their own unit."""
        output: Tensor = self(batch[0])
        return output * self.target_std + self.target_mean if self.task == "values" else output

    def _groups(self) -> Iterable[Any]:
        """All parameters, or two groups: matrices with the optimizer's weight decay, biases and norms (one dimension) without."""
        if self.decay_all:
            return self.parameters()
        groups = [{"params": [p for p in self.parameters() if p.dim() > 1]}]
        spared = [p for p in self.parameters() if p.dim() <= 1]
        return [*groups, {"params": spared, "weight_decay": 0.0}] if spared else groups

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.make_optimizer(self._groups())
        steps = int(self.trainer.estimated_stepping_batches) if self.schedule["name"] not in ("none", "plateau", "step") else 1
        config = schedule(optimizer, self.schedule["name"], steps, **self._schedule_options())
        return optimizer if config is None else {"optimizer": optimizer, "lr_scheduler": config}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A run that is resumed for longer follows the schedule of its own length."""
        for state in checkpoint.get("lr_schedulers", ()):
            forget_length(state)
