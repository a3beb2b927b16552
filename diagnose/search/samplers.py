"""How a space is sampled: random, grid, Bayesian (TPE), coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from diagnose.search.space import Dimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SAMPLERS = ("random", "grid", "tpe", "coarse_to_fine")
BEST_SHARE = 0.25  # of a round's finished trials, which the next round's region is drawn around
AGAIN = "again"  # attribute of a trial: the number of the lost one that it repeats
SHRINK = 0.5  # a side of the region is at least this share of the one before


class Planned(BaseSampler):
    """A sampler whose trials depend on the seed, the trial's place in the search and the trials before it, and on nothing else.

    So a search that was broken off goes on as it would have, and several processes agree. A trial that repeats a lost one has its values
    already and takes no place.
    """

    def __init__(self, space: Sequence[Dimension], seed: int) -> None:
        self.space, self.seed = {d.name: d for d in space}, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {}

    @staticmethod
    def place(study: Study, number: int) -> int:
        """The place in the search of the trial of this number."""
        return number - sum(AGAIN in t.user_attrs for t in study.get_trials(deepcopy=False)[:number])


class Grid(Planned):
    """Every cell of a grid once, in a seeded order."""

    def __init__(self, space: Sequence[Dimension], points: int, seed: int) -> None:
        super().__init__(space, seed)
        self.values = {d.name: d.grid(points) for d in space}
        self.order = np.random.default_rng(seed).permutation(grid_size(space, points))

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        cell = self.order[self.place(study, trial.number) % len(self.order)]
        places = np.unravel_index(cell, [len(v) for v in self.values.values()])
        return dict(zip(self.values, (v[i] for v, i in zip(self.values.values(), places, strict=True)), strict=True))[param_name]


class CoarseToFine(Planned):
    """Random search in rounds, each in the region around the best quarter of all trials before it; with one round plain random search.

    The region is a box on the scales of the space. A side covers the best trials and a tenth of the last side on either hand, and is at
    least half as long as the last. Of a choice, the options that the best trials hold stay.

    Args:
        space: The dimensions.
        per_round: Trials of one round.
        seed: Seed.
    """

    def __init__(self, space: Sequence[Dimension], per_round: int, seed: int) -> None:
        super().__init__(space, seed)
        self.per_round = per_round

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        dimension, place = self.space[param_name], self.place(study, trial.number)
        draw = np.random.default_rng([self.seed, place, list(self.space).index(param_name)]).random()
        low, high, options = self.region(study, dimension, place // self.per_round)
        if dimension.scale == "choice":
            return options[min(int(draw * len(options)), len(options) - 1)]
        return dimension.sampled(low + draw * (high - low))

    def region(self, study: Study, dimension: Dimension, round_: int) -> tuple[float, float, list[int]]:
        """The part of a dimension that a round samples from: its ends on the unit scale, and the options of a choice."""
        low, high, options = 0.0, 1.0, list(range(len(dimension.options)))
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        trials = study.get_trials(deepcopy=False) if round_ else []
        done = [(self.place(study, t.number), t) for t in trials if t.state == TrialState.COMPLETE and dimension.name in t.params]
        for number in range(1, round_ + 1):
            known = [t for place, t in done if place < number * self.per_round]
            if not known:
                continue
            known.sort(key=lambda t: sign * t.values[0])
            best = [t.params[dimension.name] for t in known[: max(2, math.ceil(BEST_SHARE * len(known)))]]
            if dimension.scale == "choice":
                options = sorted({int(v) for v in best})
                continue
            units, side = [dimension.unit(v) for v in best], high - low
            lower, upper = min(units) - 0.1 * side, max(units) + 0.1 * side
            missing = SHRINK * side - (upper - lower)
            if missing > 0:
                lower, upper = lower - missing / 2, upper + missing / 2
            low, high = max(0.0, lower), min(1.0, upper)
        return low, high, options


def sampler(
    name: str, space: Sequence[Dimension], *, trials: int, seed: int, points: int = 3, rounds: int = 3, process: int = 0
) -> BaseSampler:
    """The sampler of a search.

    Args:
        name: One of `SAMPLERS`.
        space: The dimensions.
        trials: Trials of the whole search.
        seed: Its seed.
        points: Values per dimension of a grid.
        rounds: Rounds of a coarse-to-fine search.
        process: Number of this process among those that share the study, so that no two draw the same.

    Raises:
        ValueError: The name is not known.
    """
    import warnings

    from optuna.exceptions import ExperimentalWarning

    if name == "random":
        return CoarseToFine(space, trials, seed)
    if name == "grid":
        return Grid(space, points, seed)
    if name == "coarse_to_fine":
        return CoarseToFine(space, max(1, math.ceil(trials / rounds)), seed)
    if name == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            first = min(10, max(4, trials // 3))
            return TPESampler(seed=seed + 7919 * process, n_startup_trials=first, multivariate=True, constant_liar=True)
    raise ValueError(f"tune.sampler must be one of {', '.join(SAMPLERS)}, got {name!r}")


def grid_size(space: Sequence[Dimension], points: int) -> int:
    """Trials of a whole grid."""
    return math.prod(len(d.grid(points)) for d in space)
