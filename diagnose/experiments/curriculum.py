"""Whether a run's training data change as it goes on: by a hook, by the steps themselves, or by being read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sized
from contextlib import suppress
from dis import Instruction, get_instructions
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from diagnose.experiments.data_copies import ATOMS, copied, generators_kept, reachable
from diagnose.experiments.loaders import first_loader
from diagnose.experiments.sandbox import random_state_kept
from diagnose.namespace import LightningModule, Trainer

HOOKS = ("on_train_epoch_start", "on_train_epoch_end", "on_train_batch_start", "on_train_batch_end", "on_validation_epoch_end")
LOADERS = "train_dataloader"
PARTS = ("dataset", "sampler", "batch_sampler", "collate_fn")
ITEMS = 4  # that are read of a copy of a data set, to see whether it notes that
NOTING = ("STORE_ATTR", "append", "extend")  # what a class does that counts what is read of it
GROWING = (*NOTING, "STORE_SUBSCR", "setdefault", "update", "add")  # or numbers words as they come, in one of
WORDS = (list, deque, dict, set)
SETTING = 8  # numbers in a tensor that is shared to be set, not to be learned from


def changes_data(module: LightningModule, loaders: Any, trainer: Trainer | None = None) -> str:
    """Where a module or one of its callbacks reaches into its own training data, or where these change themselves, or ``""``.

    A hook between batches or epochs names the Trainer's ``train_dataloader``, or an attribute that is the data set of the loader, its
    sampler or its collation, or a setting that one of them holds as well, as where a curriculum sets the stage of its data set; or the
    data set counts what is read of it, or the collate function notes it, such as words that are new to it. What the first epoch gives then
    is not what training will see.
    """
    held = {id(part) for part in _parts(first_loader(loaders))}
    held |= {id(value) for part in _parts(first_loader(loaders)) for value in getattr(part, "__dict__", {}).values() if _setting(value)}
    for owner in (module, *(trainer.callbacks if trainer is not None else ())):  # type: ignore[attr-defined]
        names = {LOADERS, *(name for name, value in vars(owner).items() if id(value) in held)}
        for hook in HOOKS:
            code = getattr(unwrap(getattr(type(owner), hook, None) or _none), "__code__", None)
            if code is not None and names & set(code.co_names):
                return f"{type(owner).__name__}.{hook}"
    return _changes_itself(first_loader(loaders))


def shared_state(module: LightningModule, loaders: Any) -> Callable[[LightningModule], Any]:
    """What a module shares with its training data set, as a replay buffer, to be looked at in a copy of the module at any time.

    Two looks differ where the steps in between wrote to it.
    """
    dataset = getattr(first_loader(loaders), "dataset", None)
    held = {id(part) for part in reachable(dataset) if not isinstance(part, (Tensor, np.ndarray))} if dataset is not None else set()
    own = {name: value for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, (nn.Module, *ATOMS))}
    names = [name for name, value in own.items() if any(id(part) in held for part in reachable(value))]
    return lambda twin: [_state(vars(twin)[name]) for name in names if name in vars(twin)]


def _changes_itself(loader: Any) -> str:
    """The data set's ``__getitem__`` or the collate function, where reading a few items of a copy changes a number or a length in it."""
    dataset, collate = getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)
    own = [type(part).__name__ for part in _inside(dataset) if _writes(type(part), NOTING)]
    words = hasattr(collate, "__dict__") and not isinstance(collate, FunctionType) and _writes(type(collate), GROWING)
    if not (own or words) or isinstance(dataset, IterableDataset):
        return ""
    with suppress(Exception), random_state_kept(), generators_kept(loader):
        twin, gathering = copied((dataset, collate), "the data set")
        before, kept = (len(twin), [_numbers(part) for part in _inside(twin)]), _numbers(gathering, WORDS)
        items = [twin[index] for index in range(min(ITEMS, len(twin)))]
        if (len(twin), [_numbers(part) for part in _inside(twin)]) != before:
            return f"{own[-1]}.__getitem__"
        if words and gathering(items) is not None and _numbers(gathering, WORDS) != kept:
            return f"{type(collate).__name__}.__call__"
    return ""


def _writes(kind: type, ways: tuple[str, ...]) -> bool:
    """Whether any method of a class, after its making, writes in one of these ways: only then a copy is worth its time."""
    methods = [m for c in kind.__mro__ for name, m in vars(c).items() if name != "__init__" and isinstance(m, FunctionType)]
    return any(i.opname in ways or i.argval in ways for m in methods for i in _instructions(m.__code__))


def _instructions(code: CodeType) -> Iterator[Instruction]:
    """Those of a function and of the functions and comprehensions inside of it."""
    yield from get_instructions(code)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _instructions(part)


def _numbers(value: Any, lists: tuple[type[Sized], ...] = (list, deque)) -> list[Any]:
    """The numbers that an object keeps among its attributes, and the lengths of its lists; a dict may be a cache."""
    kept = getattr(value, "__dict__", {}).values()
    return [len(v) if isinstance(v, lists) else v for v in kept if isinstance(v, (int, float, *lists))]


def _state(value: Any) -> list[Any]:
    """All that can be told of a value without comparing what it holds: numbers, both ends of its lists, versions of its tensors."""
    found: list[Any] = []
    for part in reachable(value):
        if isinstance(part, (list, deque)):
            found.append((len(part), *map(id, (*list(part)[:1], *list(part)[-1:]))))
        elif isinstance(part, Tensor):
            found.append(0 if part.is_inference() else part._version)
        elif hasattr(part, "__dict__"):
            found.append([v for v in vars(part).values() if isinstance(v, (int, float))])
    return found


def _setting(value: Any) -> bool:
    """Whether it is shared by data and a module, or by processes, in order to be set."""
    return value.numel() <= SETTING if isinstance(value, Tensor) else type(value).__module__.startswith("multiprocessing.")


def _none() -> None:
    """Stands for a hook that is not there."""


def _parts(loader: Any) -> Iterator[Any]:
    """A loader and what it reads by, and the data sets inside of its data set."""
    yield loader
    for name in PARTS:
        yield from _inside(getattr(loader, name, None))


def _inside(part: Any) -> Iterator[Any]:
    """A part of a loader and the data sets inside of it, outermost first."""
    while part is not None:
        yield part
        part = getattr(part, "dataset", None)
