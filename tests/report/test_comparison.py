from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from diagnose.comparison import compare, judge
from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.report import write_report
from diagnose.report.comparison import build_comparison
from diagnose.report.values import Report
from tests.browser import browser

NAMES = ["</script><script>alert(1)</script>", r"$\frac$"]


def run(wrong: int, rate: float) -> Record:
    record, target = Record(), np.arange(200) % 2
    score = np.where(target == 1, 0.7, 0.3) + np.random.default_rng(0).normal(size=200) * 0.05
    score[:wrong] = 1 - score[:wrong]
    probability = np.stack([1 - score, score], 1)
    evaluate_predictions(record, target, (score > 0.5).astype(int), probability, class_names=NAMES)
    record.add("config", {"lr": rate, "note": "<b>"})
    for step in range(20):
        record.append({"train/loss": 1 / (step + rate)}, step=step)
    return record


def report_of(first: Record, second: Record) -> Report:
    comparison = compare(first, second, names=("<i>main", "mine"))
    return build_comparison(comparison, judge(comparison), (first, second), created="today")


def test_the_page_answers_first(tmp_path: Path) -> None:
    report = report_of(run(4, 0.1), run(40, 0.5))
    assert (report.badge, report.tone) == ("worse", "error")
    assert report.verdict.startswith("mine is worse than <i>main on test: accuracy 0.800 against 0.980")
    assert report.headlines[0].name == "change of accuracy"
    assert [s.name for s in report.sections] == ["comparison-test", "details-test", "curves", "differs"]
    assert Report.from_json(report.to_json()) == report
    paths = write_report(report, tmp_path)
    cases = ElementTree.parse(paths["junit"]).getroot().iter("testcase")
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert failed == {"C601 worse-accuracy"}
    text = paths["md"].read_text()
    assert "**Worse.**" in text
    assert "## Comparison on test" in text
    with browser() as page:
        page.open(paths["html"])
        assert page.console == page.dialogs == []
        assert {url for url in page.requests if not url.startswith("data:")} == {paths["html"].resolve().as_uri()}
        assert page.evaluate("document.querySelector('.badge').textContent") == "worse"


def test_a_draw_and_nothing_to_compare() -> None:
    same = report_of(run(4, 0.1), run(4, 0.1))
    assert (same.badge, same.tone) == ("no difference shown", "clean")
    assert "Configuration and versions are the same." in same.sections[-1].notes
    assert report_of(run(30, 0.1), run(0, 0.1)).badge == "better"
    empty = report_of(run(4, 0.1), Record())
    assert (empty.badge, empty.tone) == ("not compared", "unknown")
    assert empty.verdict == "The two runs evaluated no loader of the same name."


def test_tokens_of_sequences_are_compared_over_the_sequences() -> None:
    pair = []
    for wrong in (4, 40):
        record, target = Record(), np.arange(200) % 2
        guess = np.where(np.arange(200) < wrong, 1 - target, target)
        evaluate_predictions(record, target, guess, class_names=NAMES, group=np.arange(200) // 10)
        pair.append(record)
    (note,) = report_of(*pair).sections[0].notes
    assert note.endswith("differences are resampled in pairs, over the 20 sequences or images that they belong to.")
    assert "McNemar" not in note


def test_worse_within_the_margin_is_not_called_no_difference() -> None:
    first, second = run(4, 0.1), run(40, 0.5)
    comparison = compare(first, second, names=("main", "mine"))
    report = build_comparison(comparison, judge(comparison, margin=0.5), (first, second))
    assert (report.badge, report.tone) == ("worse within the margin", "clean")
