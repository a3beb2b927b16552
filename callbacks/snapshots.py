"""Snapshots of the weights at the end of each cycle of a cyclic learning rate."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

from diagnose.namespace import Callback, LightningModule, Trainer


class SnapshotEnsemble(Callback):
    """Keeps the weights at the end of each cycle, so that one run gives several models.

    A run of T optimizer steps has cycles of ceil(T / cycles) steps, as `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts` with that
    ``T_0`` makes them; the last cycle may be shorter. ``callback.paths`` has the files, one per cycle that was trained to its end; they
    hold weights alone and are loaded as any checkpoint of Lightning. Cost: writing the files.

    Args:
        cycles: How many.
        dirpath: Where to; by default ``snapshots`` in the Trainer's ``default_root_dir``.

    Raises:
        ValueError: Fewer than one cycle, or more than the run has optimizer steps.

    References:
        Huang et al., Snapshot ensembles: train 1, get M for free, ICLR (2017), section 3.
    """

    def __init__(self, cycles: int = 5, dirpath: str | Path | None = None) -> None:
        if not isinstance(cycles, int) or cycles < 1:
            raise ValueError(f"cycles must be a whole number, at least 1, got {cycles!r}")
        self.cycles, self.dirpath = cycles, dirpath
        self.paths: list[str] = []
        self._ends: list[int] = []

    def state_dict(self) -> dict[str, Any]:
        return {"paths": list(self.paths)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.paths = list(state_dict["paths"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = int(trainer.estimated_stepping_batches)
        length = ceil(steps / self.cycles)
        self._ends = [min((k + 1) * length, steps) for k in range(self.cycles)]
        if len(set(self._ends)) < self.cycles:
            raise ValueError(
                f"{steps} optimizer steps cannot be cut into {self.cycles} cycles of equal length; take fewer, or train longer"
            )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = len(self.paths)
        if done < len(self._ends) and trainer.global_step >= self._ends[done]:
            place = Path(self.dirpath or Path(trainer.default_root_dir) / "snapshots") / f"snapshot-{done + 1}.ckpt"
            self.paths.append(str(place))
            trainer.save_checkpoint(place, weights_only=True)
