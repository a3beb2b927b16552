"""From a study in its storage to the values that are reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from diagnose.search.samplers import AGAIN
from diagnose.search.space import Dimension
from diagnose.search.study import SURPLUS, quiet, values
from diagnose.search.values import Confirmed, Tried, interval

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FEWEST = 10  # complete trials below which nothing is said about importance
WORDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}


def tried(study: Study, space: Sequence[Dimension]) -> tuple[Tried, ...]:
    """All trials that were begun, by number."""
    known = study.get_trials(deepcopy=False)
    return tuple(_tried(t, space) for t in known if t.state != TrialState.WAITING and SURPLUS not in t.user_attrs)


def _tried(trial: FrozenTrial, space: Sequence[Dimension]) -> Tried:
    attributes = trial.user_attrs
    reason = str(attributes.get("reason", ""))
    state = WORDS.get(trial.state, "failed" if reason else "lost")
    curve = tuple(float(v) if math.isfinite(v) else None for _, v in sorted(trial.intermediate_values.items()))
    return Tried(
        number=trial.number,
        state=state,
        values=values(trial, space),
        score=float(trial.value) if state == "complete" and trial.value is not None else None,
        curve=curve,
        best_epoch=attributes.get("best_epoch"),
        seconds=float(attributes.get("seconds", 0.0)),
        aside=float(attributes.get("aside", 0.0)),
        reason=reason or ("its process ended" if state == "lost" else ""),
        seed=int(attributes.get("seed", 0)),
        again=attributes.get(AGAIN),
    )


def ranked(study: Study, space: Sequence[Dimension], mode: str) -> list[Tried]:
    """The complete trials, best first."""
    done = [(t.score if mode == "min" else -t.score, t) for t in tried(study, space) if t.score is not None]
    return [t for _, t in sorted(done, key=lambda pair: (pair[0], pair[1].number))]


def importance(study: Study, space: Sequence[Dimension]) -> dict[str, float]:
    """How much of the score's variance each key explains among the best trials, in sum 1.

    References:
        Watanabe, Bansal and Hutter, PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces, IJCAI 2023.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < FEWEST or len({t.value for t in done}) < 2:
        return {}
    with quiet():
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    keys = {d.name: d.key for d in space}
    return {keys[name]: round(float(share), 6) for name, share in found.items() if name in keys and math.isfinite(share)}


def confirmed(chosen: Sequence[Tried], again: Sequence[Tried], mode: str) -> tuple[Confirmed, ...]:
    """The chosen settings with their scores over other seeds, best mean first; those without a second score are left out."""
    found = []
    for trial in chosen:
        scores = tuple(t.score for t in again if t.score is not None and same(t.values, trial.values))
        if scores:
            mean, low, high = interval(scores)
            found.append(Confirmed(number=trial.number, values=trial.values, scores=scores, mean=mean, low=low, high=high))
    return tuple(sorted(found, key=lambda c: c.mean if mode == "min" else -c.mean))


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two trials have the same values."""
    return {k: repr(v) for k, v in one.items()} == {k: repr(v) for k, v in other.items()}
