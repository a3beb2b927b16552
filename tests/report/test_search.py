from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diagnose.report import Report, write_report
from diagnose.report.search import search_report
from diagnose.search.values import Confirmed, Search, Tried
from tests.browser import browser

HOSTILE = "</script><script>alert(1)</script> $\\frac$"
SPACE = (
    {"key": "optimizer.lr", "scale": "log", "low": 1e-4, "high": 0.1},
    {"key": "optimizer.momentum", "scale": "one_minus", "low": 0.8, "high": 0.999},
    {"key": "model.hidden", "scale": "choice", "options": [[8], [16, 8]]},
)


def search(count: int = 12, mode: str = "min") -> Search:
    trials = []
    for n in range(count):
        values = {"optimizer.lr": 10 ** (-3.5 + n / 6), "optimizer.momentum": 0.8 + 0.015 * n, "model.hidden": [[8], [16, 8]][n % 2]}
        if n == 4:
            trials.append(Tried(number=n, state="pruned", values=values, curve=(2.0, None), seconds=0.5, reason=f"error T301 {HOSTILE}: 3"))
        else:
            score = 0.1 + (n - 7) ** 2 / 20
            trials.append(Tried(number=n, state="complete", values=values, score=score, curve=(2.0, score), seconds=1.0, aside=0.02))
    return Search(
        name="digits",
        metric="val/loss",
        mode=mode,  # type: ignore[arg-type]
        sampler="coarse_to_fine",
        space=SPACE,
        budget=count,
        trials=tuple(trials),
        importance={"optimizer.lr": 0.8, "optimizer.momentum": 0.2},
        command="python -m diagnose train optimizer.lr=0.01",
    )


def test_the_verdict_says_the_best_and_how_sure_that_is() -> None:
    found = search()
    chosen = {n: found.trials[n].values for n in (7, 8, 0)}
    sure = tuple(
        Confirmed(number=n, values=chosen[n], scores=scores, mean=sum(scores) / 3, low=0.0, high=1.0)
        for n, scores in ((7, (0.10, 0.20, 0.30)), (8, (0.11, 0.19, 0.31)), (0, (2.1, 2.2, 2.31)))
    )
    report = search_report(replace(found, confirmed=sure))
    assert report.verdict.startswith("The best of 11 complete trials has val/loss 0.100 (optimizer.lr 0.004642, ")
    assert "Over 3 other seeds the best on average is trial 7: 0.200 (95 % interval 0 to 1)" in report.verdict
    assert "1 other setting is not clearly worse, seed by seed" in report.verdict
    assert [h.name for h in report.headlines] == ["val/loss, best trial", "val/loss, mean", "overhead of the search"]
    assert report.headlines[2].value == pytest.approx(11 * 0.02 / 11.5)


def test_the_largest_counts_where_more_is_better() -> None:
    found = search(mode="max")
    assert found.ranked[0].number == 0
    assert search_report(found).headlines[0].value == found.trials[0].score


def test_the_report_reads_back_equal_and_names_all_trials() -> None:
    report = search_report(search(), created="2026-01-01T00:00:00")
    assert Report.from_json(report.to_json()) == report
    table = next(t for s in report.sections for t in s.tables if t.name == "trials")
    assert table.columns == ("trial", "state", "val/loss", "epochs", "seconds", "lr", "momentum", "hidden", "why it ended")
    assert len(table.rows) == 12


def test_a_search_without_a_result_says_why() -> None:
    failed = tuple(Tried(number=n, state="failed", values={"optimizer.lr": 0.1}, reason="no such metric") for n in range(3))
    report = search_report(replace(search(), trials=failed, importance={}, command=""))
    assert report.tone == "error"
    assert report.verdict == "No trial came to an end; most often: no such metric."
    assert search_report(replace(search(), trials=())).verdict == "No trial came to an end."


def test_the_page_opens_without_requests_errors_or_dialogs(tmp_path: Path) -> None:
    paths = write_report(search_report(search()), tmp_path)
    assert paths["html"].stat().st_size < 500_000
    with browser() as page:
        page.open(paths["html"])
        assert page.console == page.dialogs == []
        assert [r for r in page.requests if not r.startswith("file:")] == []
        assert "Parallel coordinates" in page.evaluate("document.body.innerText")
        assert "What each rule did" not in page.evaluate("document.body.innerText")
