"""What a search found, as plain frozen values that are written and read back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

SCHEMA = 1
STATES = ("complete", "pruned", "failed", "lost", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One trial.

    Attributes:
        number: Its number in the study.
        state: ``complete``, ``pruned`` (cut short), ``failed`` (raised), ``lost`` (its process ended) or ``running``.
        values: Values by key of the config.
        score: The metric at its best epoch; ``None`` where there is none.
        curve: The metric per epoch.
        best_epoch: Epoch of the score, from 0.
        seconds: Wall time of its training.
        aside: Wall time that its process spent on the search itself before it: sampling, storage, composing the config.
        reason: Why it was cut short, failed or was lost.
        seed: Seed of the run.
        again: Number of the lost trial that it repeats.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    score: float | None = None
    curve: tuple[float | None, ...] = ()
    best_epoch: int | None = None
    seconds: float = 0.0
    aside: float = 0.0
    reason: str = ""
    seed: int = 0
    again: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Settings that were trained again with other seeds; ``low`` and ``high`` bound the 95 % t-interval of the mean."""

    number: int
    values: Mapping[str, Any]
    scores: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search and what came of it.

    Attributes:
        name: Its name in the storage.
        metric: What was optimised, as it is logged.
        mode: ``min`` or ``max``.
        sampler: How the space was sampled.
        space: The dimensions as plain values.
        budget: Trials that were asked for.
        trials: All trials.
        confirmed: The best again, with other seeds, best mean first.
        importance: Share of the variance of the score per key; empty below `diagnose.search.summary.FEWEST` trials.
        command: The words that train the best settings.
        seconds: Wall time of the search.
        processes: Trials at a time.
    """

    name: str
    metric: str
    mode: Literal["min", "max"]
    sampler: str
    space: tuple[Mapping[str, Any], ...]
    budget: int
    trials: tuple[Tried, ...]
    confirmed: tuple[Confirmed, ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    seconds: float = 0.0
    processes: int = 1
    schema: int = SCHEMA

    @property
    def ranked(self) -> list[Tried]:
        """The complete trials, best first."""
        done = [(t.score if self.mode == "min" else -t.score, t) for t in self.trials if t.score is not None]
        return [t for _, t in sorted(done, key=lambda pair: (pair[0], pair[1].number))]

    @property
    def overhead(self) -> float | None:
        """What the search itself took, per second of training; ``None`` where that was not measured."""
        own, aside = sum(t.seconds for t in self.trials), sum(t.aside for t in self.trials if t.seconds)
        return aside / own if own and aside else None

    def write(self, path: Path) -> None:
        """Write as JSON; the file is complete or absent."""
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(asdict(self), indent=1, allow_nan=False), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Search:
        """Read back; equals what was written.

        Raises:
            ValueError: It is no search, or one of a newer schema.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if int(raw["schema"]) > SCHEMA:
                raise ValueError(f"{path} has schema {raw['schema']!r}, this version reads up to {SCHEMA}: update lightning-diagnose")
            return cls(
                **{
                    **raw,
                    "space": tuple(raw["space"]),
                    "trials": tuple(Tried(**{**t, "curve": tuple(t["curve"])}) for t in raw["trials"]),
                    "confirmed": tuple(Confirmed(**{**c, "scores": tuple(c["scores"])}) for c in raw["confirmed"]),
                }
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} holds no search: {type(error).__name__}: {error}") from error


def interval(scores: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % t-interval of scores over seeds; no interval for one score.

    >>> [round(v, 3) for v in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    mean = float(np.mean(scores))
    if len(scores) < 2:
        return mean, None, None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(scores) - 1) * np.std(scores, ddof=1) / math.sqrt(len(scores)))
    return mean, mean - half, mean + half
