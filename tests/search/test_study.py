from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from diagnose.search import study as studies
from diagnose.search.samplers import CoarseToFine, grid_size, sampler
from diagnose.search.space import Dimension, space
from diagnose.search.study import ask, lost, open_study, requeue, storage, values
from diagnose.search.summary import confirmed, importance, ranked, tried

NOBODY = 2**30  # no process has this number: the most that Linux gives is 2**22
SPACE = space({"x": "linear(-1, 1)", "rate": "log(1e-4, 1)", "kind": ["a", "b"]})


def make(folder: Path, name: str = "random", trials: int = 12, dimensions: tuple[Dimension, ...] = SPACE, **more: Any) -> Study:
    settings = {"mode": "min", "sampler": name, "trials": trials, "points": 3, "rounds": 3}
    return open_study(storage("", folder), "search", dimensions, settings, seed=3, prune=False, **more)


def bowl(values: dict[str, Any]) -> float:
    return float((values["x"] - 0.3) ** 2 + (np.log10(values["rate"]) + 2) ** 2 + (values["kind"] == "b"))


def run(study: Study, budget: int, score: Callable[[dict[str, Any]], float] = bowl) -> None:
    while (trial := ask(study, SPACE, budget)) is not None:
        study.tell(trial, score(values(trial, SPACE)))


@pytest.mark.parametrize("name", ["random", "grid", "tpe", "coarse_to_fine"])
def test_every_sampler_stays_within_the_space_and_the_budget(name: str, tmp_path: Path) -> None:
    study = make(tmp_path, name)
    run(study, 12)
    found = tried(study, SPACE)
    assert [t.number for t in found] == list(range(12))
    assert all(-1 <= t.values["x"] <= 1 and 1e-4 <= t.values["rate"] <= 1 and t.values["kind"] in ("a", "b") for t in found)
    assert ranked(study, SPACE, "min")[0].score == min(bowl(dict(t.values)) for t in found)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tune\.sampler must be one of random, grid, tpe, coarse_to_fine, got 'bayes'"):
        sampler("bayes", SPACE, trials=3, seed=0)


def test_a_grid_visits_each_cell_once(tmp_path: Path) -> None:
    size = grid_size(SPACE, 3)
    study = make(tmp_path, "grid", trials=size)
    run(study, size)
    assert size == 18
    assert set(Counter(tuple(t.values.items()) for t in tried(study, SPACE)).values()) == {1}
    assert len(tried(study, SPACE)) == 18


def test_rounds_zoom_in_on_the_best(tmp_path: Path) -> None:
    study = make(tmp_path, "coarse_to_fine", trials=60)
    run(study, 60)
    last = [t.values for t in tried(study, SPACE)[40:]]
    spread = np.ptp([np.log10(v["rate"]) for v in last])
    assert spread < 2.5  # of 4 decades
    assert min(v["rate"] for v in last) < 0.01 < max(v["rate"] for v in last)
    low, high, _ = CoarseToFine(SPACE, 20, 3).region(study, SPACE[1], 2)
    assert low < 0.5 < high
    assert high - low < 0.75


def test_a_search_broken_off_goes_on_as_it_would_have(tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = make(tmp_path / "whole", "coarse_to_fine")
    run(whole, 12)
    for budget in (5, 12):
        part = make(tmp_path / "parts", "coarse_to_fine")
        run(part, budget)
    assert [t.values for t in tried(part, SPACE)] == [t.values for t in tried(whole, SPACE)]


def test_two_processes_do_not_draw_the_same(tmp_path: Path) -> None:
    for name in ("random", "tpe"):
        (tmp_path / name).mkdir()
        crew = [make(tmp_path / name, name, process=i) for i in (1, 2)]
        trials = [ask(study, SPACE, 8) for _ in range(4) for study in crew]
        assert len({repr(values(t, SPACE)) for t in trials if t is not None}) == 8
        assert ask(crew[0], SPACE, 8) is None


def test_a_trial_of_a_dead_process_is_lined_up_again(tmp_path: Path) -> None:
    study = make(tmp_path)
    trial = ask(study, SPACE, 12)
    assert trial is not None
    assert lost(study) == []  # this process lives
    trial.set_user_attr("process", f"{socket.gethostname()}:{NOBODY}")
    assert requeue(study, lost(study)) == [0]
    again = ask(study, SPACE, 12)
    assert again is not None
    assert values(again, SPACE) == values(trial, SPACE)
    study.tell(again, 1.0)
    run(study, 12)
    found = tried(study, SPACE)
    assert Counter(t.state for t in found) == {"complete": 12, "lost": 1}
    assert found[1].again == 0


def test_a_silent_machine_counts_as_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(tmp_path)
    trial = ask(study, SPACE, 12)
    assert trial is not None
    trial.set_user_attr("process", "elsewhere:1")
    assert lost(study) == []
    monkeypatch.setattr(studies, "SILENT", -1.0)
    assert [t.number for t in lost(study)] == [0]


def test_a_trial_whose_process_has_not_yet_said_its_name_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(tmp_path)
    study.ask()
    assert lost(study) == []
    monkeypatch.setattr(studies, "NAMELESS", -1.0)
    assert [t.number for t in lost(study)] == [0]


def test_life_of_processes() -> None:
    assert studies.alive(os.getpid())
    assert not studies.alive(NOBODY)
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its number is not free yet
        assert not studies.alive(child.pid)


def test_another_space_under_the_same_name_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(
        ValueError, match=r"holds a study 'search' of another space or metric\ngive this one a name of its own by tune\.name"
    ):
        make(tmp_path, dimensions=SPACE[:1])


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "sqlite:////nowhere/at/all.db",
            r"tune\.storage 'sqlite:////nowhere/at/all\.db' cannot be reached: .*unable to open database file",
        ),
        ("postgresql://me:hidden@localhost:1/x", r"'postgresql://me:\*\*\*@localhost:1/x' cannot be reached"),
        ("nonsense", "cannot be reached"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_named_without_its_password(url: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        storage(url, tmp_path)
    assert "hidden" not in str(caught.value)


def test_a_database_keeps_a_study_too(tmp_path: Path) -> None:
    for _ in range(2):
        settings = {"mode": "max", "sampler": "random", "trials": 3, "points": 3, "rounds": 1}
        study = open_study(storage(f"sqlite:///{tmp_path}/s.db", tmp_path), "one", SPACE, settings, seed=0)
        run(study, 3)
    assert [t.number for t in tried(study, SPACE)] == [0, 1, 2]


def test_importance_names_what_the_score_depends_on(tmp_path: Path) -> None:
    study = make(tmp_path, trials=60)
    run(study, 5)
    assert importance(study, SPACE) == {}
    run(study, 60, lambda v: abs(np.log10(v["rate"]) + 2))
    shares = importance(study, SPACE)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert max(shares, key=lambda k: shares[k]) == "rate"


def test_the_best_are_ranked_by_their_mean_over_seeds(tmp_path: Path) -> None:
    study = make(tmp_path, trials=2)
    run(study, 2)
    best = ranked(study, SPACE, "min")
    again = [*best, *best]
    found = confirmed(best, again, "min")
    assert [c.number for c in found] == [t.number for t in best]
    assert found[0].mean == pytest.approx(best[0].score)
    assert found[0].low == pytest.approx(best[0].score)


def test_failures_keep_their_reason(tmp_path: Path) -> None:
    study = make(tmp_path)
    for reason, state in (("a fault", TrialState.FAIL), ("hopeless", TrialState.PRUNED)):
        trial = ask(study, SPACE, 12)
        assert trial is not None
        trial.report(2.0, 0)
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=state)
    assert [(t.state, t.reason, t.score, t.curve) for t in tried(study, SPACE)] == [
        ("failed", "a fault", None, (2.0,)),
        ("pruned", "hopeless", None, (2.0,)),
    ]
