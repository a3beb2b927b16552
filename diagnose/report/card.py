"""A report as a model card: what to know before one uses the model.

References:
    Mitchell et al., Model Cards for Model Reporting, FAT* (2019), section 4: the nine parts and their order.
"""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.report.markdown import escape, table_lines
from diagnose.report.text import number, sentence
from diagnose.report.values import Report, Section, Table
from diagnose.values import Severity

UNKNOWN = "Not known to this program: to be written by the people who answer for the model."
RUN = {"checkpoint", "SHA-256 of the checkpoint", "seed", "epochs trained", "optimizer steps", "precision", "git commit", "optimizer"}


def to_model_card(report: Report) -> str:
    """The report as a model card in GitHub-flavoured Markdown; what a run cannot tell is marked as such."""
    parts = (
        ("Model details", details(report)),
        ("Intended use", unknown()),
        ("Factors", factors(report)),
        ("Metrics", metrics(report)),
        ("Evaluation data", data(report, "test", "val")),
        ("Training data", data(report, "train")),
        ("Quantitative analyses", analyses(report)),
        ("Ethical considerations", unknown()),
        ("Caveats and recommendations", caveats(report)),
    )
    lines = [f"# Model card: {escape(report.title)}", ""]
    for title, body in parts:
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def evaluations(report: Report) -> list[Section]:
    """The sections with numbers of a loader."""
    return [section for section in report.sections if section.name.startswith("evaluation-")]


def find(section: Section | None, name: str) -> Table | None:
    """A table of a section by name."""
    return next((table for table in section.tables if table.name == name), None) if section is not None else None


def provenance(report: Report, name: str) -> list[tuple[str, str]]:
    """The rows of a table of the provenance, as pairs."""
    table = find(next((s for s in report.sections if s.name == "provenance"), None), name)
    return [(str(row[0]), str(row[1])) for row in table.rows] if table is not None else []


def pairs(rows: list[tuple[str, str]]) -> Iterator[str]:
    """A list of keys and values."""
    for key, value in rows:
        yield f"- {escape(key)}: {escape(value)}"


def unknown() -> Iterator[str]:
    yield UNKNOWN


def details(report: Report) -> Iterator[str]:
    if report.subtitle:
        yield f"{escape(report.subtitle)}{f', reported {escape(report.created)}' if report.created else ''}."
        yield ""
    target = [(k, v) for k, v in provenance(report, "config") if k.startswith("model.")]
    yield from pairs([*target, *((k, v) for k, v in provenance(report, "run") if k in RUN)])
    versions = ", ".join(f"{escape(k)} {escape(v)}" for k, v in provenance(report, "versions"))
    if versions:
        yield f"- versions: {versions}"


def factors(report: Report) -> Iterator[str]:
    slices = [table for section in evaluations(report) if (table := find(section, "slices")) is not None]
    if not slices:
        yield "No group was found on which the model is worse than on the rest; only groups that the data name were looked at."
    for table in slices:
        yield from table_lines(table)


def metrics(report: Report) -> Iterator[str]:
    if not report.headlines:
        yield "Nothing was evaluated."
        return
    yield "Intervals hold 95 %; the baseline is a predictor that knows no input."
    yield ""
    yield "| metric | value | 95 % interval | baseline | measured on |"
    yield "|---|---:|---|---|---|"
    for h in report.headlines:
        span = "–" if h.low is None else f"{number(h.low)} – {number(h.high)}"
        base = "–" if h.baseline is None else f"{number(h.baseline)} ({escape(h.baseline_name)})"
        yield f"| {escape(h.name)} | {number(h.value)} | {span} | {base} | {escape(h.scope)} |"


def data(report: Report, *splits: str) -> Iterator[str]:
    table = find(next((s for s in report.sections if s.name == "provenance"), None), "data")
    columns, rows = (table.columns[1:], table.rows) if table is not None else ((), ())
    plain = [
        (str(name), ", ".join(f"{column} {value}" for column, value in zip(columns, values, strict=True) if value is not None))
        for name, *values in rows
        if str(name).split("/")[0].split(",")[0] in splits
    ]
    if splits[0] == "test":
        scopes = dict.fromkeys(h.scope for h in report.headlines)
        plain = [*(("evaluated on", scope) for scope in scopes), *plain]
    yield from pairs(plain) if plain else unknown()


def analyses(report: Report) -> Iterator[str]:
    found = False
    for section in evaluations(report):
        for name in ("per-class", "confused", "gap", "by-quantile", "coverage"):
            table = find(section, name)
            if table is not None and table.rows:
                found = True
                yield from table_lines(table)
    if not found:
        yield "See report.md."


def caveats(report: Report) -> Iterator[str]:
    serious = [f for f in report.diagnosis.findings if f.severity is not Severity.INFO]
    minor = [f for f in report.diagnosis.findings if f.severity is Severity.INFO]
    for f in (*serious, *minor):
        yield f"- **{f.severity.value} {escape(f.code)}** {escape(sentence(f.message))}{f' {escape(sentence(f.fix))}' if f.fix else ''}"
    if report.diagnosis.findings:
        yield ""
    yield f"{escape(report.diagnosis.summary())}. A rule that did not run has not passed."
