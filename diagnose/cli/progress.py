"""The live display of a training: one line that stays, nothing that scrolls."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from diagnose.namespace import Callback, LightningModule, Trainer


class LiveProgress(Callback):
    """Epoch, loss and accuracy of training and validation in a rich progress bar; silent where the output is no terminal.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[numbers]}"),
        )
        self.progress = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self.task: TaskID | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.progress.start()
            self.task = self.progress.add_task("training, epochs", total=trainer.max_epochs or None, numbers="")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.task is not None:
            metrics = trainer.callback_metrics
            numbers = "  ".join(
                f"{name} {float(metrics[name]):.3f}" for name in ("train/loss", "val/loss", "val/accuracy") if name in metrics
            )
            self.progress.update(self.task, completed=trainer.current_epoch + 1, numbers=numbers)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.progress.stop()
