"""The first batches of a loader, as training would get them, and its length; the loader itself stays as it was."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sized
from itertools import islice
from typing import Any

from diagnose.experiments.copying import Unusable, copied, told
from diagnose.experiments.data_copies import Unreadable, generators_kept
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.loader_batches import batches_of
from diagnose.namespace import LightningDataModule, LightningModule, Trainer, home, is_combined, is_overridden

ROWS = 1 << 20


def first_batches(loaders: Any, count: int, seconds: float = math.inf) -> list[Any]:
    """Up to ``count`` batches, fewer where reading them takes more than ``seconds``.

    Of several loaders one batch each is read, put together as Lightning does for training.

    A map-style loader that does not shuffle is read at places spread over its epoch; streams, samplers and data sets with a state of
    their own are read as copies.

    Raises:
        Unusable: The loader gives nothing, raises, or is a plain iterator that reading would use up.
    """
    try:
        with generators_kept(loaders):
            began, batches = time.monotonic(), []
            for _, _, batch in islice(batches_of(loaders, Sample(), (count, ROWS)), count):
                batches.append(batch)
                if time.monotonic() - began > seconds:
                    break
    except Unreadable as error:
        raise Unusable(str(error)) from error
    except Exception as error:
        raise Unusable(f"the loader raised {told(error)}") from error
    if not batches:
        raise Unusable("the loader gave no batch")
    return batches


def first_loader(loaders: Any) -> Any:
    """The first of a list, tuple, dict or `CombinedLoader` of loaders, or the loader itself."""
    if is_combined(loaders):
        loaders = loaders.iterables
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    return (first_loader(loaders[0]) if loaders else None) if isinstance(loaders, (list, tuple)) else loaders


def length(loaders: Any) -> int | None:
    """Batches in an epoch, of several loaders in the longest; ``None`` where that is not known."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    if isinstance(loaders, (list, tuple)):
        known = [n for n in map(length, loaders) if n is not None]
        return max(known, default=None)
    try:
        return len(loaders) if isinstance(loaders, Sized) else None
    except Exception:  # streams have a length that raises
        return None


def rows(loaders: Any) -> int | None:
    """Rows of the data set of the first loader; ``None`` where that is not known."""
    dataset = getattr(first_loader(loaders), "dataset", None)
    try:
        return len(dataset) if isinstance(dataset, Sized) else None
    except Exception:  # streams have a length that raises
        return None


def own_loaders(
    module: LightningModule, datamodule: LightningDataModule | None, val: Any, trainer: Trainer | None
) -> tuple[Any, Any, LightningDataModule | None]:
    """The loaders of a data module, else those of the module itself, and the data module as it is after its setup.

    Both are set up as copies: ``prepare_data`` and ``setup`` leave nothing behind in the user's own.

    Raises:
        Unusable: There are none, or making them raises.
    """
    owner: Any = copy.copy(datamodule) if datamodule is not None else copied(module)
    if not is_overridden("train_dataloader", owner):
        raise Unusable("there is no training loader")
    owner.trainer = trainer or home(owner).Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", devices=1)
    try:
        owner.prepare_data()
        owner.setup("fit")
        train = owner.train_dataloader()
        if val is None and is_overridden("val_dataloader", owner):
            val = owner.val_dataloader()
    except Exception as error:
        raise Unusable(f"the training data cannot be set up ({told(error)})") from error
    return train, val, owner if datamodule is not None else None
