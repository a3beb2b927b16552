"""A few headline numbers, and pictures, for the loggers of a Trainer; all numbers are in the record."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.namespace import Trainer
from diagnose.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("diagnose")

PREFIX = "diagnose/"
TOTALS = tuple(
    "grad_norm/total grad_norm/clipped clip/ratio gradient/similarity train/accuracy prediction/top_share prediction/std "
    "val/loss val/accuracy time/step memory/rss".split()
)
LAYERS = {"grad_norm/layers": ("grad_norm", 3), "update_ratio/layers": ("update_ratio", 2), "activation/dead": ("activation/dead", 1)}


class Loggers:
    """The loggers of a Trainer; one that raises is left out from then on, and said so once.

    Of the layers those are sent that were largest and smallest in the first record, so that each name is a whole curve.

    Args:
        trainer: Whose loggers.
        most: The most numbers of one record that are sent.
    """

    def __init__(self, trainer: Trainer, most: int = 20) -> None:
        self.all: list[Any] = list(trainer.loggers) if trainer.is_global_zero else []
        self.most = most
        self.chosen: dict[str, list[int]] = {}
        self.plain: set[int] = set()
        self.off: set[int] = set()
        self.blind: set[int] = set()

    def scalars(self, record: Record, values: Mapping[str, Any], step: int) -> None:
        """Send the headlines of one row of the record."""
        headlines = dict(islice(self._headlines(record, values), self.most))
        if not headlines:
            return
        for logger in self.all:
            if id(logger) in self.off:
                continue
            try:
                if id(logger) not in self.plain:
                    try:
                        logger.log_metrics(headlines, step=step)
                        continue
                    except Exception:  # it may refuse the names
                        self.plain.add(id(logger))
                logger.log_metrics({re.sub(r"\W", "_", name): value for name, value in headlines.items()}, step=step)
            except Exception as error:
                self.off.add(id(logger))
                log.warning("%s gets no more of what is measured: %s: %s", type(logger).__name__, type(error).__name__, error)

    def _headlines(self, record: Record, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        for name in TOTALS:
            if values.get(name) is not None:
                yield PREFIX + name, float(values[name])
        for series, (name, count) in LAYERS.items():
            row, labels = values.get(series), record.labels.get(series, ())
            if row is None:
                continue
            if series not in self.chosen:
                self.chosen[series] = extremes(row, count)
            for column in self.chosen[series]:
                if math.isfinite(row[column]):
                    yield f"{PREFIX}{name}/{re.sub(r'[^0-9A-Za-z_./-]+', '_', labels[column]).strip('_')}", float(row[column])

    def image(self, name: str, figure: Figure, step: int) -> None:
        """Send a figure to those that take pictures."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        for logger, send in self._seeing():
            try:
                send(PREFIX + name, picture, step)
            except Exception as error:
                self.blind.add(id(logger))
                log.warning("%s gets no more pictures: %s: %s", type(logger).__name__, type(error).__name__, error)

    def takes_images(self) -> bool:
        """Whether any of them takes pictures."""
        return any(True for _ in self._seeing())

    def _seeing(self) -> Iterator[tuple[Any, Any]]:
        for logger in self.all:
            send = sender(logger) if id(logger) not in self.blind else None
            if send is not None:
                yield logger, send


def extremes(row: Sequence[float], count: int) -> list[int]:
    """The places of the ``count`` largest and of the ``count`` smallest finite numbers, in the order of the row.

    >>> extremes([3.0, 1.0, float("nan"), 2.0, 5.0], 1)
    [1, 4]
    """
    order = sorted((i for i, value in enumerate(row) if math.isfinite(value)), key=lambda i: row[i])
    return sorted({*order[:count], *order[-count:]})


def sender(logger: Any) -> Any:
    """How a logger takes a picture: ``send(name, array of shape (height, width, 3), step)``, or ``None``."""
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(logger, "log_image"):  # Weights & Biases and those made like it
        return lambda name, picture, step: logger.log_image(key=name, images=[picture], step=step)
    if hasattr(experiment, "add_image"):  # TensorBoard
        return lambda name, picture, step: experiment.add_image(name, picture, step, dataformats="HWC")
    if hasattr(experiment, "log_image") and hasattr(logger, "run_id"):  # MLflow
        return lambda name, picture, step: experiment.log_image(logger.run_id, picture, f"{name}-{step:06d}.png")
    return None
