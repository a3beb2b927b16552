from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt

from diagnose.record import Record
from diagnose.report import Report, build_report, write_report
from diagnose.report.card import UNKNOWN, to_model_card
from diagnose.values import Diagnosis
from tests.report.synthetic import HOSTILE, faulty, full_record, healthy

PARTS = [
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses",
    "Ethical considerations", "Caveats and recommendations",
]  # fmt: skip


def part(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_a_model_card_has_the_nine_parts_in_their_order() -> None:
    card = to_model_card(build_report(full_record(), faulty(), created="2026-11-21"))
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == PARTS
    assert "- seed: 7" in part(card, "Model details")
    assert "torch 2\\.13" not in card
    assert "torch 2.13.0" in part(card, "Model details")
    assert "| accuracy | 0.961 | 0.936 – 0.977 | 0.100 (majority class) | test, 360 samples |" in part(card, "Metrics")
    assert "evaluated on: test, 360 samples" in part(card, "Evaluation data")
    assert "- train: samples 1347, batch size 15" in part(card, "Training data")
    assert "### Per class" in part(card, "Quantitative analyses")
    assert "**error M201** Softmax is applied before cross\\-entropy" in part(card, "Caveats and recommendations")
    assert [title for title in PARTS if UNKNOWN in part(card, title)] == ["Intended use", "Ethical considerations"]


def test_it_says_nothing_that_is_not_known() -> None:
    card = to_model_card(build_report(Record(), Diagnosis()))
    assert "Nothing was evaluated." in part(card, "Metrics")
    assert UNKNOWN in part(card, "Training data")


def test_hostile_names_stay_text() -> None:
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(to_model_card(build_report(full_record(HOSTILE, batches=20), healthy())))
    )
    assert "<script" not in html
    assert "<img" not in html


def test_it_is_written_beside_the_report_of_an_evaluation(tmp_path: Path) -> None:
    report = build_report(full_record(batches=20), healthy())
    written = write_report(report, tmp_path / "a", formats=("json", "card"), figures=False)
    again = Report.from_json(written["json"].read_text(encoding="utf-8"))
    assert to_model_card(again) == written["card"].read_text(encoding="utf-8")
    write_report(build_report(Record(), Diagnosis()), tmp_path / "b")
    assert not (tmp_path / "b" / "model_card.md").exists()
