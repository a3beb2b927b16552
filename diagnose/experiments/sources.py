"""Where the user's own code stands."""

from __future__ import annotations

import inspect
from pathlib import Path

from diagnose.namespace import LightningModule


def sources(module: LightningModule) -> dict[str, str]:
    """Where the user's own hooks stand: ``{"training_step": "model.py:31"}``."""
    places = {}
    for hook in ("training_step", "validation_step", "forward", "configure_optimizers", "optimizer_step", "__init__"):
        function = getattr(type(module), hook, None)
        try:
            file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
        if file and "lightning" not in Path(file).parts:
            places[hook] = f"{Path(file).name}:{line}"
    return places
