"""A saved step that became NaN or infinite: writing it down, and running it again."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from diagnose.experiments.nonfinite import locate
from diagnose.namespace import MODULES, LightningModule

SCHEMA = 1
PLAIN = (bool, int, float, str, type(None))


def save_reproduction(
    path: Path,
    module: LightningModule,
    batch: Any,
    *,
    index: int,
    random_state: Tensor | None,
    precision: str,
    found: dict[str, Any],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a step to a file that holds only tensors and plain values.

    Args:
        path: The file; its folder is made.
        module: The module with the weights that the step began with, unless they are given.
        batch: The batch, on any device.
        index: Its index in the epoch.
        random_state: State of torch's CPU generator before the step.
        precision: The Trainer's precision.
        found: What was seen, for the report of `replay`.
        weights: The state that the step began with, where the module has gone on since.

    Raises:
        TypeError: The batch holds something that is neither a tensor nor a plain value.
    """
    kind = type(module)
    content = {
        "schema": SCHEMA,
        "module": f"{kind.__module__}:{kind.__qualname__}",
        "hyper_parameters": {k: v for k, v in dict(module.hparams).items() if _is_plain(v)},
        "weights": {name: value.detach().cpu() for name, value in (weights or module.state_dict()).items() if isinstance(value, Tensor)},
        "batch": tree_map(_storable, batch),
        "index": index,
        "random_state": random_state,
        "precision": precision,
        "found": {k: v for k, v in found.items() if _is_plain(v)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save(content, partial)
    partial.replace(path)


def _storable(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, PLAIN):
        return value
    raise TypeError(f"a batch that is saved must hold tensors and plain values, got {type(value).__module__}.{type(value).__qualname__}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return isinstance(value, PLAIN)


def replay(path: Path | str, module: LightningModule | None = None) -> str:
    """Run a saved step again and say where it becomes NaN or infinite.

    Args:
        path: A file that `save_reproduction` wrote; only tensors and plain values are read from it.
        module: The module to run, in any state; by default it is made anew from the class and hyper-parameters named in the file, whose
            code is imported.

    Returns:
        A few lines to print.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a reproduction, or its module cannot be made anew.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no reproduction at {path}: expected the file that the fact 'nonfinite' names")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        schema = content["schema"]
    except Exception as error:
        raise ValueError(f"{path} is not a saved reproduction ({type(error).__name__}: {error})") from error
    if schema > SCHEMA:
        raise ValueError(f"{path} has schema {schema}, this version reads up to {SCHEMA}: update lightning-diagnose")
    twin = make(content["module"], content["hyper_parameters"]) if module is None else module
    twin.load_state_dict(content["weights"], strict=False)
    seen, index = content["found"], content["index"]
    again = locate(twin, content["batch"], index, random_state=content["random_state"], precision=content["precision"])
    lines = [
        f"{content['module']}, batch {seen.get('batch', index)} of epoch {seen.get('epoch', '?')}, step {seen.get('step', '?')}",
        f"  then: {describe(seen)}",
        f"  now:  {describe(again)}",
    ]
    return "\n".join(lines)


def describe(found: dict[str, Any]) -> str:
    """One line on what `diagnose.experiments.nonfinite.locate` found."""
    if not found.get("what"):
        return "every number is finite"
    place = f" of {found['module']}" if found.get("module") else ""
    operation = f" ({found['operation']})" if found.get("operation") else ""
    return f"the {found['what']}{place}{operation} is not finite, {found.get('direction', 'forward')} pass"


def make(name: str, hyper_parameters: dict[str, Any]) -> LightningModule:
    """A new module of the class ``"package.module:Class"``.

    Raises:
        ValueError: The class cannot be imported, is no LightningModule or refuses these hyper-parameters.
    """
    home, _, qualname = name.partition(":")
    advice = "pass the module: replay(path, module)"
    try:
        kind: Any = importlib.import_module(home)
        for part in qualname.split("."):
            kind = getattr(kind, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} cannot be imported ({error}); {advice}") from error
    if not (isinstance(kind, type) and issubclass(kind, MODULES)):
        raise ValueError(f"{name} is not a LightningModule")
    try:
        return kind(**hyper_parameters)
    except Exception as error:
        raise ValueError(f"{name} cannot be made with {sorted(hyper_parameters)} ({type(error).__name__}: {error}); {advice}") from error
