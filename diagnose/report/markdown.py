"""A report as Markdown, for a pull request or a model card."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.report.html import STATES, TONES, cell
from diagnose.report.text import duration, number, sentence
from diagnose.report.values import Report, Section, Table

ROWS = 40
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$@-])")


def escape(text: str) -> str:
    r"""Text that Markdown takes as it is.

    >>> escape("a|b <i> `x`")
    'a\\|b &lt;i&gt; \\`x\\`'
    """
    flat = " ".join(text.split())
    return SPECIAL.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def code(text: str) -> str:
    """Text as inline code, whatever backticks it holds."""
    flat = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", flat)), default=0))
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def to_markdown(report: Report, *, figures: bool = True) -> str:
    """The report as GitHub-flavoured Markdown; ``figures`` links the pictures in ``figures/``."""
    return "\n".join(lines(report, figures=figures)).rstrip() + "\n"


def lines(report: Report, *, figures: bool) -> Iterator[str]:
    yield f"# {escape(report.title)}"
    yield ""
    if report.subtitle:
        yield f"{escape(report.subtitle)}{f' · {escape(report.created)}' if report.created else ''}"
        yield ""
    yield f"**{escape((report.badge or TONES[report.tone]).capitalize())}.** {escape(report.verdict)}"
    yield ""
    yield from findings(report)
    if report.headlines:
        yield "| number | value | 95 % interval | baseline | measured on |"
        yield "|---|---:|---|---|---|"
        for h in report.headlines:
            span = "–" if h.low is None else f"{number(h.low)} – {number(h.high)}"
            base = "–" if h.baseline is None else f"{number(h.baseline)} ({escape(h.baseline_name)})"
            yield f"| {escape(h.name)} | {number(h.value)} | {span} | {base} | {escape(h.scope)} |"
        yield ""
    for section in report.sections:
        yield from section_lines(section, figures=figures)
    yield "## Rules"
    yield ""
    yield f"{escape(report.diagnosis.summary())}. A rule that did not run has not passed."
    if report.stages:
        yield ""
        yield f"Time: {', '.join(f'{escape(name)} {duration(seconds)}' for name, seconds in report.stages)}."


def findings(report: Report) -> Iterator[str]:
    for f in report.diagnosis.findings:
        where = f" ({code(f.where)})" if f.where else ""
        yield f"- **{f.severity.value} {escape(f.code)} {escape(f.rule)}**{where}: {escape(sentence(f.message))}"
        if f.fix:
            yield f"  Fix: {escape(sentence(f.fix))}{f' {code(f.override)}' if f.override else ''}"
    if report.diagnosis.findings:
        yield ""


def section_lines(section: Section, *, figures: bool) -> Iterator[str]:
    yield f"## {escape(section.title)}"
    yield ""
    for note in section.notes:
        yield escape(note)
        yield ""
    for check in section.checks:
        yield f"- {STATES[check.state]}: **{escape(check.title)}.** {escape(check.text)}"
    if section.checks:
        yield ""
    if figures:
        for picture in section.pictures:
            yield f"![{escape(picture.alt)}](figures/{picture.name}.svg)"
            yield ""
    for table in section.tables:
        if not table.folded or section.name != "provenance":
            yield from table_lines(table)


def table_lines(table: Table) -> Iterator[str]:
    yield f"### {escape(table.title)}"
    yield ""
    yield f"| {' | '.join(escape(c) for c in table.columns)} |"
    yield f"|{'|'.join('---' if f == 'text' else '---:' for f in table.formats)}|"
    body, foot = table.rows[: len(table.rows) - table.footer], table.rows[len(table.rows) - table.footer :]
    for row in (*body[:ROWS], *foot):
        yield f"| {' | '.join(escape(cell(v, f)) for v, f in zip(row, table.formats, strict=True))} |"
    yield ""
    if len(body) > ROWS:
        yield f"The first {ROWS} of {len(body)} rows."
        yield ""
    if table.note:
        yield escape(table.note)
        yield ""
