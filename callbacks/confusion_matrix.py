"""The confusion matrix of every validation and test."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.callbacks.instrument import NotMonitored
from diagnose.callbacks.ranks import Share, copies, shares
from diagnose.callbacks.watching import Watching, cell
from diagnose.measure.classification import WIDEST
from diagnose.measure.losses import Predictions
from diagnose.namespace import LightningModule, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ConfusionMatrix(Watching):
    """Counts true against predicted classes in every validation and test of a classifier.

    Predictions and targets come from the calls of loss functions in ``validation_step`` and ``test_step``, or from the ``preds`` and
    ``target`` that the step returns. Each evaluation starts at zero; the sanity check is left out; loaders are kept apart; counts of all
    ranks are summed, and samples that a ``DistributedSampler`` repeats to give each rank as many are counted once. Cost: one count per
    batch on the module's device, one picture per evaluation.

    ``callback.matrices`` holds the counts of the last evaluation, rows are true classes: ``{"val": ..., "val-1": ..., "test": ...}``.

    Args:
        class_names: A name per class.
        dirpath: Folder for ``val-epoch0003-step000120.png``, ``.csv`` and ``.json`` (``test.*`` for a test); by default nothing is
            written.
        extract: ``extract(output, batch)`` gives predictions and targets where the loss calls do not: a mapping with ``preds`` and
            ``target``, or a pair.
        strict: Raise what fails, where it would otherwise be logged once and switch this callback off.
    """

    results = ("matrices",)

    def __init__(
        self,
        *,
        class_names: Sequence[str] | None = None,
        dirpath: Path | str | None = None,
        extract: Callable[[Any, Any], Any] | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(class_names, dirpath, extract, strict)
        self.matrices: dict[str, NDArray[np.int64]] = {}
        self._counts: dict[int, Tensor] = {}
        self._shares: dict[int, Share] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_counts": {}, "_shares": {}}

    def begin(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        self._counts = {}
        self._shares = shares(trainer, trainer.test_dataloaders if stage == "test" else trainer.val_dataloaders)

    def take(self, found: Predictions, loader: int) -> None:
        if found.task not in ("binary", "multiclass"):
            raise NotMonitored(f"a confusion matrix needs one class per sample, this task is {found.task}")
        classes = max(found.classes, len(self.class_names or ()))
        if classes > WIDEST:
            raise NotMonitored(f"a confusion matrix of {classes} classes is too large, the limit is {WIDEST}")
        counts = self._counts.get(loader)
        counts = (
            widened(counts, classes) if counts is not None else torch.zeros(classes, classes, dtype=torch.long, device=found.target.device)
        )
        width = len(counts)
        flat = found.target.long() * width + found.prediction.long()
        if loader in self._shares:
            flat = flat[: self._shares[loader].own(len(flat))]
        self._counts[loader] = counts + torch.bincount(flat, minlength=width * width).reshape(width, width)

    def finish(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        counts = summed(self._counts, trainer, module.device) if trainer.world_size > 1 else self._counts
        self._counts = {}
        for loader, table in sorted(counts.items()):
            name = stage if loader == 0 else f"{stage}-{loader}"
            self.matrices[name] = table.cpu().numpy()
            if trainer.is_global_zero:
                within = f"-epoch{trainer.current_epoch:04d}-step{trainer.global_step:06d}" if trainer.state.fn == "fit" else ""
                self._write(name, within, self.matrices[name], trainer.global_step)

    def _write(self, name: str, within: str, counts: NDArray[np.int64], step: int) -> None:
        names = self.class_names or [str(i) for i in range(len(counts))]
        path = None if self.dirpath is None else self.dirpath / f"{name}{within}"
        if path is not None:
            self._table(path, names, counts)

        def figure() -> Figure:
            from diagnose.report.figures import confusion_figure

            return confusion_figure(counts, names)

        self._show(f"{name}/confusion_matrix", figure, path and path.with_name(f"{path.name}.png"), step)

    def _table(self, path: Path, names: list[str], counts: NDArray[np.int64]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["true \\ predicted", *map(cell, names)])
            table.writerows([cell(name), *row] for name, row in zip(names, counts.tolist(), strict=True))
        document = {"class_names": names, "counts": counts.tolist(), "n": int(counts.sum())}
        path.with_name(f"{path.name}.json").write_text(json.dumps(document), encoding="utf-8")


def widened(counts: Tensor, classes: int) -> Tensor:
    """The counts with room for at least ``classes`` classes."""
    missing = classes - len(counts)
    return torch.nn.functional.pad(counts, (0, missing, 0, missing)) if missing > 0 else counts


def summed(counts: dict[int, Tensor], trainer: Trainer, device: torch.device) -> dict[int, Tensor]:
    """The counts of all ranks; each rank takes part, also one that saw no batch."""
    size = torch.tensor([max(counts, default=-1) + 1, max(map(len, counts.values()), default=0)], device=device)
    loaders, classes = trainer.strategy.reduce(size, reduce_op="max").tolist()
    empty = torch.zeros(classes, classes, dtype=torch.long, device=device)
    tables = [widened(counts[i], classes) if i in counts else empty.clone() for i in range(loaders)]
    return {i: trainer.strategy.reduce(table, reduce_op="sum") // copies(trainer) for i, table in enumerate(tables)}
