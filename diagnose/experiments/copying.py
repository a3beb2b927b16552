"""A copy of a module to try things on: weights, buffers and attributes of its own."""

from __future__ import annotations

import copy
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer

from diagnose.namespace import LightningModule

LIGHTNING = [sys.modules[name] for name in ("lightning", "pytorch_lightning", "lightning_fabric") if sys.modules.get(name)]
LIBRARIES = (str(Path(__file__).parents[1]), *(str(Path(m.__file__ or "").parent) for m in (torch, np, copy, *LIGHTNING)))
LOCKS: dict[type, Callable[[], Any]] = {type(make()): make for make in (threading.Lock, threading.RLock)}


class Unusable(Exception):
    """The module cannot be tried out; the text says why, the cause keeps the user's own traceback."""


def told(error: BaseException) -> str:
    """An error in one line, with the place in the user's own code that it comes from."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*LIBRARIES, "<"))]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno}, in {own[-1].name})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def copied(module: LightningModule) -> LightningModule:
    """A deep copy of the module without the Trainer it may be attached to; attributes that cannot be copied are shared.

    Raises:
        Unusable: The module cannot be copied, or shares what a step would use up.
    """
    attached = {name: module.__dict__[name] for name in ("_trainer", "_fabric") if module.__dict__.get(name) is not None}
    try:
        for name in attached:
            module.__dict__[name] = None
        copies = _substitutes(module)
        with torch.no_grad():  # else the copy of a ScriptModule has its weights in a graph
            try:
                known = dict(copies)
                twin = copy.deepcopy(module, known)
            except Exception:
                known = {**copies, **_shared(module, copies)}
                twin = copy.deepcopy(module, known)
        _bind(twin, known)
        for own, new in zip(module.parameters(), twin.parameters(), strict=True):
            if new.requires_grad != own.requires_grad:
                new.requires_grad_(own.requires_grad)
        return twin
    except Unusable:
        raise
    except Exception as error:
        raise Unusable(f"the module cannot be copied ({told(error)})") from error
    finally:
        module.__dict__.update(attached)


def _shared(module: torch.nn.Module, copies: dict[int, Any]) -> dict[int, Any]:
    """The attributes that cannot be copied (clients, handles of other libraries), to stand in the copy as they are.

    Raises:
        Unusable: One is an iterator or an open file, which a step of the copy would advance for the original as well.
    """
    found: dict[int, Any] = {}
    inside = {id(child): child for child in module.modules()}  # what only refers to one of them can be copied with it
    for path, child in module.named_modules():
        for name, value in vars(child).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            parts = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else (value,)
            for part in parts:
                try:
                    copy.deepcopy(part, {**copies, **found, **inside})
                except Exception as error:
                    if isinstance(part, Iterator):
                        where = ".".join(filter(None, ("self", path, name)))
                        text = f"the module cannot be copied ({told(error)}), and a step would use up {where}"
                        raise Unusable(text) from error
                    found[id(part)] = part
    return found


def _substitutes(module: torch.nn.Module) -> dict[int, Any]:
    """What stands in the copy for parts that ``deepcopy`` refuses: results kept as attributes, buffers without a shape, locks."""
    found: dict[int, Any] = {}
    for child in module.modules():
        for value in (*vars(child).values(), *child._buffers.values()):
            for part in value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else (value,):
                if isinstance(part, UninitializedBuffer):
                    found[id(part)] = UninitializedBuffer(device=part.device, dtype=part.dtype)  # type: ignore[call-arg]
                elif isinstance(part, Tensor) and part.grad_fn is not None:
                    found[id(part)] = part.detach().clone()
                elif type(part) in LOCKS:
                    found[id(part)] = LOCKS[type(part)]()
    return found


def _bind(twin: LightningModule, copies: dict[int, Any]) -> None:
    """Put the copy's own methods in the place of those that ``torch.compile`` wrapped, as it does where Lightning compiles a whole module.

    The wrapped ones would still run the original.
    """
    for child in twin.modules():
        for name, value in list(vars(child).items()):
            method = getattr(value, "_torchdynamo_orig_callable", None) if isinstance(value, FunctionType) else None
            owner = copies.get(id(getattr(method, "__self__", None)))
            if isinstance(method, MethodType) and owner is not None:
                vars(child)[name] = MethodType(method.__func__, owner)
        if getattr(child, "_compiler_ctx", None) is not None:
            vars(child)["_compiler_ctx"] = None
