"""Copies of what reading a loader could change, and random generators put back as they were."""

from __future__ import annotations

import copy
import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

BYTES = 1 << 26  # tensors and arrays are copied up to this many bytes in all, else shared
LONG = 2000  # elements above which a list or dict is shared
OBJECTS = 20_000  # objects that are looked at
SHARED = (
    "pandas",
    "pyarrow",
    "polars",
    "datasets",
    "h5py",
    "PIL",
    "xarray",
    "zarr",
    "webdataset",
)  # read, never written to, and often large
ATOMS = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)


class Unreadable(Exception):
    """A loader cannot be read, or not without taking something from training; the text says why."""


def copied(value: Any, name: str, *, share: Any = None) -> Any:
    """A deep copy that shares long containers and large buffers.

    Args:
        value: What to copy.
        name: What to call it in an error.
        share: A part that stays uncopied where the whole cannot be copied.

    Raises:
        Unreadable: It cannot be copied.
    """
    parts = list(reachable(value))
    buffers = [p for p in parts if isinstance(p, (Tensor, np.ndarray))]
    large = sum(b.nbytes for b in buffers) > BYTES
    memo = {id(p): p for p in [*(buffers if large else []), *filter(_stays, parts)]}
    try:
        if len(parts) >= OBJECTS and share is not None:
            raise RecursionError("it holds too many objects")
        return copy.deepcopy(value, memo)
    except Exception as error:
        if share is None:
            reason = f"{name} cannot be copied ({type(error).__name__}: {error}), and reading it would change what training sees"
            raise Unreadable(reason) from error
    try:
        return copy.deepcopy(value, {id(share): share})
    except Exception as error:
        raise Unreadable(f"{name}'s sampler or collate function cannot be copied ({type(error).__name__}: {error})") from error


def _stays(part: Any) -> bool:
    long = isinstance(part, (list, tuple, dict, set)) and len(part) > LONG
    return long or type(part).__module__.partition(".")[0] in SHARED


def reachable(value: Any) -> Iterator[Any]:
    """Objects that ``value`` holds, through attributes and containers of moderate length; each once, at most 20 000."""
    seen: set[int] = set()
    pending = [value]
    while pending and len(seen) < OBJECTS:
        part = pending.pop()
        if id(part) in seen or isinstance(part, ATOMS):
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, (Tensor, np.ndarray)) or _stays(part):
            continue
        if isinstance(part, dict):
            pending.extend(part.values())
        elif isinstance(part, (list, tuple, set)):
            pending.extend(part)
        elif isinstance(part, types.MethodType):
            pending.append(part.__self__)
        if hasattr(part, "__dict__"):
            pending.extend(vars(part).values())


@contextmanager
def generators_kept(loaders: Any) -> Iterator[None]:
    """Put back every random generator that the loaders hold, or that stands at the top of the modules which define their parts."""
    parts = list(reachable(loaders))
    modules = {m for p in parts for m in (getattr(type(p), "__module__", ""), getattr(getattr(p, "collate_fn", None), "__module__", ""))}
    for name in modules - {"builtins"}:
        if isinstance(name, str) and not name.startswith(("torch.", "numpy", "lightning.")) and name in sys.modules:
            parts += [v for v in vars(sys.modules[name]).values() if isinstance(v, GENERATORS)]
    restore = [_restorer(part) for part in {id(p): p for p in parts if isinstance(p, GENERATORS)}.values()]
    try:
        yield
    finally:
        for put_back in restore:
            put_back()


def _restorer(generator: Any) -> Callable[[], Any]:
    if isinstance(generator, np.random.Generator):
        bits, kept = generator.bit_generator, copy.deepcopy(generator.bit_generator.state)
        return lambda: setattr(bits, "state", kept)
    if isinstance(generator, random.Random):
        python = generator.getstate()
        return lambda: generator.setstate(python)
    state = generator.get_state()
    return lambda: generator.set_state(state)
