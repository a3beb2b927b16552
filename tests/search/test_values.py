from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from diagnose.search.values import Confirmed, Search, Tried, interval

SEARCH = Search(
    name="search",
    metric="val/loss",
    mode="min",
    sampler="random",
    space=(
        {"key": "optimizer.lr", "scale": "log", "low": 1e-4, "high": 0.1},
        {"key": "model.hidden", "scale": "choice", "options": [[8], [16]]},
    ),
    budget=3,
    trials=(
        Tried(
            number=0,
            state="complete",
            values={"optimizer.lr": 0.01, "model.hidden": [8]},
            score=0.5,
            curve=(0.9, 0.5),
            seconds=2.0,
            aside=0.1,
        ),
        Tried(number=1, state="pruned", values={"optimizer.lr": 0.1, "model.hidden": [16]}, curve=(9.0, None), reason="T301 diverged: x"),
        Tried(number=2, state="complete", values={"optimizer.lr": 0.02, "model.hidden": [16]}, score=0.4, curve=(0.6, 0.4), seconds=2.0),
    ),
    confirmed=(Confirmed(number=2, values={"optimizer.lr": 0.02, "model.hidden": [16]}, scores=(0.4, 0.5), mean=0.45, low=0.1, high=0.8),),
    command="python -m diagnose train optimizer.lr=0.02",
)


def test_a_search_reads_back_equal(tmp_path: Path) -> None:
    SEARCH.write(tmp_path / "search.json")
    assert Search.read(tmp_path / "search.json") == SEARCH
    assert [t.number for t in SEARCH.ranked] == [2, 0]
    assert SEARCH.overhead == pytest.approx(0.025)


def test_the_interval_is_students() -> None:
    scores = [0.4, 0.5, 0.45, 0.6]
    low, high = stats.t.interval(0.95, 3, loc=sum(scores) / 4, scale=stats.sem(scores))
    assert interval(scores) == pytest.approx((sum(scores) / 4, low, high))
    assert interval([0.4]) == (0.4, None, None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "holds no search: JSONDecodeError"),
        ("{}", "holds no search: KeyError"),
        (json.dumps({"schema": 99}), "has schema 99, this version reads up to 1"),
    ],
)
def test_what_is_no_search_is_said(content: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(ValueError, match=text):
        Search.read(tmp_path / "search.json")
