"""Loading weights from a checkpoint, with errors that say what is wrong with it."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch

from diagnose.cli.arguments import UsageError, nearest
from diagnose.cli.targets import located
from diagnose.namespace import MODULES, LightningModule


def load(module: LightningModule, path: Path, *, trust: bool) -> None:
    """Load the weights of a Lightning checkpoint into a module.

    Args:
        module: Of the architecture that was saved.
        path: The checkpoint.
        trust: Load also what is more than weights and plain values: that can run code.

    Raises:
        UsageError: The file is damaged, no checkpoint, refused, or of another model.
    """
    weights = _weights(path, trust)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise other_model(path, error, "choose the model as it was trained, for example model=cnn model.hidden=32") from error


def restored(node: dict[str, Any], allow: Sequence[str], path: Path, *, trust: bool) -> LightningModule:
    """A module of a class of the user's own, made with the hyper-parameters that the checkpoint holds, with its weights.

    Args:
        node: ``_target_`` and the arguments that are given beside the hyper-parameters, which they replace.
        allow: Packages that the target may come from.
        path: The checkpoint.
        trust: Load also what is more than weights and plain values: that can run code.

    Raises:
        UsageError: As of `load`; or the target is no LightningModule, or cannot be made from what is known.
    """
    kind, arguments = located(node, "model", allow)
    if not (isinstance(kind, type) and issubclass(kind, MODULES)):
        raise UsageError(f"module must name a LightningModule, {node['_target_']!r} is none")
    parameters = signature(kind).parameters
    if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        for name in arguments.keys() - parameters.keys():  # Lightning would pass over them
            raise UsageError(
                f"{kind.__name__} takes no argument {name!r}{nearest(name, list(parameters))}\nit takes {', '.join(parameters)}"
            )
    _weights(path, trust)
    try:
        module: LightningModule = kind.load_from_checkpoint(path, map_location="cpu", weights_only=not trust, **arguments)
    except (TypeError, ValueError) as error:
        lines = [f"{kind.__name__} cannot be made from the checkpoint {str(path)!r}:", str(error)[:300]]
        raise UsageError("\n".join([*lines, "give what it needs by module.NAME=VALUE"])) from error
    except RuntimeError as error:
        raise other_model(path, error, "name the class that was trained, with what it was made with: module.NAME=VALUE") from error
    return module


def other_model(path: Path, error: RuntimeError, advice: str) -> UsageError:
    """Weights do not fit."""
    first, *more = [line.strip()[:150] for line in str(error).splitlines()]
    head = f"the checkpoint {str(path)!r} belongs to another model than the config describes:"
    return UsageError("\n".join([head, *(more or [first])[:3], advice]))


def _weights(path: Path, trust: bool) -> dict[str, Any]:
    saved = _read(path, trust)
    weights = saved.get("state_dict") if isinstance(saved, dict) else None
    if not isinstance(weights, dict):
        raise UsageError(f"{str(path)!r} is no Lightning checkpoint: it has no 'state_dict'")
    return weights


def _read(path: Path, trust: bool) -> Any:
    if not zipfile.is_zipfile(path):
        raise UsageError(f"the checkpoint {str(path)!r} is damaged or no checkpoint: expected the zip archive that torch.save writes")
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds {named[1]}, such as a hyper-parameter" if named else str(error).splitlines()[0]
        raise UsageError(
            f"the checkpoint {str(path)!r} is refused: it holds more than weights, or is damaged\n{reason.strip()[:200]}\n"
            "if you trust its source: trust_checkpoint=true (loading it can then run code)"
        ) from error
    except Exception as error:  # what a damaged archive raises depends on the byte that is wrong
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(f"the checkpoint {str(path)!r} is damaged or no checkpoint: {reason}") from error
