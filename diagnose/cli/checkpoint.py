"""Loading weights from a checkpoint, with errors that say what is wrong with it."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from diagnose.cli.arguments import UsageError
from diagnose.namespace import LightningModule


def load(module: LightningModule, path: Path, *, trust: bool) -> None:
    """Load the weights of a Lightning checkpoint into a module.

    Args:
        module: Of the architecture that was saved.
        path: The checkpoint.
        trust: Load also what is more than weights and plain values: that can run code.

    Raises:
        UsageError: The file is damaged, no checkpoint, refused, or of another model.
    """
    saved = _read(path, trust)
    weights = saved.get("state_dict") if isinstance(saved, dict) else None
    if not isinstance(weights, dict):
        raise UsageError(f"{str(path)!r} is no Lightning checkpoint: it has no 'state_dict'")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        first, *more = [line.strip()[:150] for line in str(error).splitlines()]
        raise UsageError(
            "\n".join(
                [
                    f"the checkpoint {str(path)!r} belongs to another model than the config describes:",
                    *(more or [first])[:3],
                    "choose the model as it was trained, for example model=cnn model.hidden=32",
                ]
            )
        ) from error


def _read(path: Path, trust: bool) -> Any:
    if not zipfile.is_zipfile(path):
        raise UsageError(f"the checkpoint {str(path)!r} is damaged or no checkpoint: expected the zip archive that torch.save writes")
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), str(error).splitlines()[0])
        raise UsageError(
            f"the checkpoint {str(path)!r} is refused: it holds more than weights, or is damaged\n{reason.strip()[:200]}\n"
            "if you trust its source: trust_checkpoint=true (loading it can then run code)"
        ) from error
    except Exception as error:  # what a damaged archive raises depends on the byte that is wrong
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(f"the checkpoint {str(path)!r} is damaged or no checkpoint: {reason}") from error
