"""Whether a run reaches into its own training data as it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import unwrap
from typing import Any

from diagnose.experiments.loaders import first_loader
from diagnose.namespace import LightningModule, Trainer

HOOKS = ("on_train_epoch_start", "on_train_epoch_end", "on_train_batch_start", "on_train_batch_end", "on_validation_epoch_end")
LOADERS = "train_dataloader"
PARTS = ("dataset", "sampler", "batch_sampler", "collate_fn")


def changes_data(module: LightningModule, loaders: Any, trainer: Trainer | None = None) -> str:
    """The hook, between batches or epochs, in which a module or one of its callbacks reaches into its own training data, or ``""``.

    The hook names the Trainer's ``train_dataloader``, or an attribute that is the data set of the loader, its sampler or its collation,
    as where a curriculum sets the stage of its data set. What the first epoch gives then is not what training will see.
    """
    held = {id(part) for part in _parts(first_loader(loaders))}
    for owner in (module, *(trainer.callbacks if trainer is not None else ())):  # type: ignore[attr-defined]
        names = {LOADERS, *(name for name, value in vars(owner).items() if id(value) in held)}
        for hook in HOOKS:
            code = getattr(unwrap(getattr(type(owner), hook, None) or _none), "__code__", None)
            if code is not None and names & set(code.co_names):
                return f"{type(owner).__name__}.{hook}"
    return ""


def _none() -> None:
    """Stands for a hook that is not there."""


def _parts(loader: Any) -> Iterator[Any]:
    """A loader and what it reads by, and the data sets inside of its data set."""
    yield loader
    for name in PARTS:
        part = getattr(loader, name, None)
        while part is not None:
            yield part
            part = getattr(part, "dataset", None)
