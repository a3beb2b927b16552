"""Several optimizers with a loss each, as in adversarial training: what is known of each of them when the run is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules.evidence import run, single_loss
from diagnose.statistics import Values, finite, median


@dataclass(frozen=True, kw_only=True)
class Player:
    """One of several optimizers.

    Attributes:
        name: Of its layers, such as ``"critic (Adam 1)"``.
        layers: All layers that it holds weights of.
        rate: Learning rate at the start.
        trainable: Whether any of its weights was to be trained when training began.
        steps, waiting: Its steps, and the backward passes that left it gradients before the first of them.
        loss: What was differentiated before its steps, of the measured batches in which it stepped.
        updates: Relative size of its steps per layer, of the measured batches in which it moved them, ``(steps, layers)``.
        watched: Measured batches in which it stepped and all weights were compared.
        pulls: Norm of its gradient at the measured steps.
    """

    name: str
    layers: tuple[str, ...]
    rate: float
    trainable: bool
    steps: int
    waiting: int
    loss: Values
    updates: Values
    watched: int
    pulls: Values

    @property
    def pace(self) -> float:
        """Size of its steps relative to the weights: of the layer that moves most, in the median; 0 where it is not known."""
        return median(np.nanmax(self.updates, axis=1)) if len(self.updates) else 0.0

    @property
    def course(self) -> tuple[float, float] | None:
        """Its loss in the first ten and in the last third of the measured steps, or ``None`` where there are too few."""
        return (median(self.loss[:10]), median(self.loss[-len(self.loss) // 3 :])) if len(self.loss) >= 20 else None


def players(record: Record, weights: int = 50) -> Iterator[Player]:
    """The optimizers of a run that is over, where each has a loss of its own; those with fewer ``weights`` are left out."""
    if "turns" not in record or single_loss(record):
        return
    rates = [float(optimizer["lr"]) for optimizer in run(record).get("optimizers", ())]
    for i, fact in enumerate(record.facts["turns"]):
        if fact["weights"] < weights:
            continue
        loss, stepped = np.empty(0), np.empty(0, int)
        if "loss/optimizers" in record:
            series = record.series("loss/optimizers")
            loss, stepped = finite(series.value[:, i]), series.batch[np.isfinite(series.value[:, i])]
        compared = record.series("update_ratio/layers").batch if "update_ratio/layers" in record else np.empty(0, int)
        moved = _of(record, "update_ratio/layers", fact["layers"])
        pulls = np.sqrt(np.nansum(np.square(_of(record, "grad_norm/layers", fact["layers"])), axis=1))
        heads = list(dict.fromkeys(layer.partition(".")[0] for layer in fact["layers"]))
        yield Player(
            name=f"{', '.join(heads[:3])} ({fact['name']})",
            layers=tuple(fact["layers"]),
            rate=rates[i] if i < len(rates) else 0.0,
            trainable=fact.get("trainable", True),
            steps=fact["steps"],
            waiting=fact["waiting"],
            loss=loss,
            updates=moved[(moved > 0).any(axis=1)],
            watched=int(np.isin(stepped, compared).sum()),
            pulls=pulls[pulls > 0],
        )


def _of(record: Record, name: str, layers: list[str]) -> Values:
    """The columns of these layers."""
    if name not in record:
        return np.empty((0, 0))
    series = record.series(name)
    columns: Values = series.value[:, [i for i, label in enumerate(series.labels) if label in layers]]
    return columns[np.isfinite(columns).any(axis=1)] if columns.size else np.empty((0, 0))
