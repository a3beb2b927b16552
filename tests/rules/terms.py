"""Facts of steps that add a term to their loss call."""

from __future__ import annotations

from typing import Any


def divergence(pull: float = 4.0, whole: float = 1.0, alone: float = 0.4) -> dict[str, Any]:
    """Facts of a step that adds a term of the batch, and of the copies trained with it and without it."""
    penalty = {"added": [0.21, 0.2, 0.22], "losses": [1.2, 1.3, 1.1], "data_gradient": 0.5, "added_gradient": 0.5 * pull}
    copies = {"whole": whole, "alone": alone, "chance": 1.0, "floor": 0.2, "steps": 150}
    return {"probe.penalty": penalty, "probe.unpenalised": copies, "probe.step": {"calls": 1}, "task": {"loss": "mse_loss"}}
