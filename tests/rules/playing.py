"""Records of adversarial trainings that never ran: a maker with the layers a and b, and a critic with the layers c and d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnose.record import Record
from tests.rules.training import training

ROWS = 40
LAYERS = ["maker.0", "maker.2", "critic.0", "critic.2"]


def game(
    *,
    updates: Sequence[float] = (2e-3, 4e-3, 3e-3, 5e-3),
    losses: tuple[Sequence[float], Sequence[float]] = ([0.7] * ROWS, [1.3] * ROWS),
    pulls: Sequence[float] | None = None,
    critic: Mapping[str, Any] | None = None,
    total: Sequence[float] = (2.0,) * 300,
) -> Record:
    """A run of two optimizers.

    Args:
        updates: Relative size of the steps of each layer.
        losses: Those of maker and critic, of the measured batches.
        pulls: Norms of the gradient of each layer of the maker; by default 0.1.
        critic: Changes to what the fact ``turns`` says of the critic.
        total: The sum of both losses, of all batches.
    """
    turns = [
        {"name": "Adam 0", "layers": LAYERS[:2], "weights": 900, "steps": 300, "waiting": 0},
        {"name": "Adam 1", "layers": LAYERS[2:], "weights": 900, "steps": 300, "waiting": 0, **(critic or {})},
    ]
    pulled = [[pull, pull, 0.1, 0.1] for pull in pulls or [0.1] * ROWS]
    return training(
        total,
        run={"optimizers": [{"name": "Adam", "lr": 1e-3}, {"name": "Adam", "lr": 2e-3}], "automatic_optimization": False},
        facts={"turns": turns},
        labels={"update_ratio__layers": LAYERS, "grad_norm__layers": LAYERS, "loss__optimizers": ["Adam 0", "Adam 1"]},
        update_ratio__layers=[list(updates)] * ROWS,
        grad_norm__layers=pulled,
        loss__optimizers=np.array(losses).T,
        weights__moved=[0.1],
    )
