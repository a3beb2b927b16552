"""A report as one page: no request leaves it, and it reads without JavaScript."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from diagnose.report.drawn import Drawn, draw_panels
from diagnose.report.text import number, sentence
from diagnose.report.values import Cell, Headline, Report, Table
from diagnose.values import Finding, Outcome, Severity, Status

if TYPE_CHECKING:
    from markupsafe import Markup

LIMIT = 200  # rows of a table on the page
LETTERS = 63  # a line of a table that stands beside another; longer ones need the whole width
CELL = 20  # letters of a text before it is wrapped
TONES = {
    "error": "fault found",
    "warning": "needs attention",
    "interrupted": "interrupted",
    "clean": "no fault found",
    "unknown": "not judged",
}
STATES = {"passed": "✓ passed", "failed": "✗ failed", "unjudged": "– not judged"}
ORDER = ("error", "warning", "info", "crashed", "folded", "not-run", "clean")


@dataclass(frozen=True, slots=True)
class Row:
    """What one rule did, in words."""

    code: str
    rule: str
    kind: str
    word: str
    why: str


def to_html(report: Report, drawn: Mapping[str, Drawn] | None = None) -> str:
    """The report as one self-contained HTML page.

    Args:
        report: What to show.
        drawn: Its pictures by name, where they are drawn already.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from diagnose import __version__

    css, script, template = (
        files("diagnose.report").joinpath(n).read_text(encoding="utf-8") for n in ("page.css", "page.js", "page.html.jinja")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "sentence": sentence}
    environment.tests |= {"gauged": gauged, "broad": broad}
    return environment.from_string(template).render(
        report=report,
        css=Markup(css),
        script=Markup(script),
        policy=policy(css, script),
        drawn={p.name: draw_panels(p) for p in report.pictures} if drawn is None else drawn,
        pages=defaultdict(str, {code: page(text) for code, text in report.pages.items()}),
        findings=grouped(report.diagnosis.findings),
        explained=explained(report),
        outcomes=rows(report),
        spent=sum(seconds for _, seconds in report.stages) or 1.0,
        tones=TONES,
        states=STATES,
        limit=LIMIT,
        version=__version__,
    )


def policy(css: str, script: str) -> str:
    """A content-security policy that lets run what we wrote, and nothing else."""
    style, code = (f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in (css, script))
    return f"default-src 'none'; style-src {style}; script-src {code}; img-src data:; base-uri 'none'; form-action 'none'"


def cell(value: Cell, kind: str) -> str:
    if value is None:
        return "–"
    if kind == "text" or isinstance(value, (str, bool)):
        return str(value)
    if kind == "number" and isinstance(value, float) and value == 1.0:
        return "1.00"  # among shares, a bare 1 looks like a count
    return f"{value:.3f}" if kind == "share" else f"{value:,}" if kind == "count" else number(value)


def gauged(headline: Headline) -> bool:
    """Whether the number and what stands beside it lie on a scale from 0 to 1."""
    known = [v for v in (headline.value, headline.low, headline.high, headline.baseline) if v is not None]
    return headline.value is not None and headline.better == "higher" and len(known) > 1 and all(0 <= v <= 1 for v in known)


def broad(table: Table) -> bool:
    """Whether a table needs the whole width of the page."""
    widest = [len(head) for head in table.columns]
    for row in table.rows[:LIMIT]:
        widest = [max(w, min(CELL, len(cell(v, f)))) for w, v, f in zip(widest, row, table.formats, strict=True)]
    return len(table.columns) > 6 or (len(table.columns) > 2 and sum(widest) + 2.5 * len(widest) > LETTERS)


def page(text: str) -> Markup:
    """A rule's page; raw HTML in it is shown, not obeyed."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False})
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(5, int(token.tag[1]) + 2)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one rule and severity stand together, where the first of them is: nine weak slices are one thing to read."""
    groups: dict[tuple[str, Severity], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.severity), []).append(finding)
    return list(groups.values())


def explained(report: Report) -> defaultdict[str, list[Finding]]:
    """The findings that were folded into others, by the code of their cause."""
    folded: defaultdict[str, list[Finding]] = defaultdict(list)
    for outcome in report.diagnosis.outcomes:
        if outcome.explained_by:
            folded[outcome.explained_by] += outcome.findings
    return folded


def rows(report: Report) -> tuple[tuple[str, list[Row]], ...]:
    """What the rules did, under what they did."""
    every = sorted((row(o) for o in report.diagnosis.outcomes), key=lambda r: (ORDER.index(r.kind), r.code))
    quiet = ("clean", "not-run")
    groups = {"Found": [r for r in every if r.kind not in quiet]}
    groups |= {title: [r for r in every if r.kind == kind] for title, kind in (("Clean", "clean"), ("Did not run", "not-run"))}
    return tuple((title, group) for title, group in groups.items() if group)


def row(outcome: Outcome) -> Row:
    if outcome.explained_by:
        return Row(
            outcome.code, outcome.rule, "folded", "found, folded", f"explained by {outcome.explained_by}: {outcome.findings[0].message}"
        )
    if outcome.findings:
        worst = max((f.severity for f in outcome.findings), key=lambda s: s.rank, default=Severity.INFO)
        return Row(outcome.code, outcome.rule, worst.value, f"found ({worst.value})", outcome.findings[0].message)
    word = {Status.NOT_RUN: "did not run", Status.CRASHED: "crashed", Status.CLEAN: "clean", Status.FOUND: "found"}[outcome.status]
    return Row(outcome.code, outcome.rule, outcome.status.value if outcome.status is not Status.FOUND else "info", word, outcome.reason)
