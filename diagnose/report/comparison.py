"""The page of a comparison: is the second run better, on which classes and samples, and what differs between the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import numpy as np

from diagnose.record import Record
from diagnose.report.build import shown, tidied, tidy, tone_of
from diagnose.report.drawing import FEWEST
from diagnose.report.evaluation import name_of
from diagnose.report.panels import PETROFF, WIDEST, line, lines
from diagnose.report.text import clean, number, plain, plural
from diagnose.report.values import Cell, Headline, Picture, Report, Section, Table
from diagnose.values import Diagnosis, Severity

FIRST, SECOND = PETROFF[0], PETROFF[6]
WORDS = {"better": "better", "worse": "worse", "open": "no difference shown"}
CURVES = (("train/loss", "Training loss"), ("val/loss", "Validation loss"), ("val/accuracy", "Validation accuracy"))


def build_comparison(comparison: Mapping[str, Any], diagnosis: Diagnosis, records: tuple[Record, Record], *, created: str = "") -> Report:
    """The report of a comparison.

    Args:
        comparison: What `diagnose.comparison.compare` gave.
        diagnosis: What `diagnose.comparison.judge` says about it.
        records: The two runs, for their curves.
        created: When the report is made, as it shall be printed.
    """
    one, other = (str(name) for name in comparison["names"])
    sections: list[Section | None] = []
    for loader in comparison["loaders"]:
        sections += shown(f"Comparison on {loader}", partial(loader_sections, comparison, loader, records))
    sections += shown("Training curves", lambda: [curves_section(comparison, records)])
    sections += shown("What differs", lambda: [differing_section(comparison)])
    return Report(
        title=clean(f"{other} against {one}"),
        subtitle=clean(f"comparison · A is {one} · B is {other}"),
        created=clean(created),
        tone=tone_of(diagnosis, interrupted=False),
        badge=badge(comparison, diagnosis),
        verdict=clean(verdict(comparison)),
        diagnosis=tidy(diagnosis),
        headlines=tuple(Headline(**plain(asdict(h))) for h in headlines(comparison)),
        sections=tuple(tidied(s) for s in sections if s is not None),
    )


def badge(comparison: Mapping[str, Any], diagnosis: Diagnosis) -> str:
    """The answer in two words."""
    if diagnosis.worst is Severity.ERROR:
        return "worse"
    first = [entry["differences"][0]["verdict"] for entry in comparison["loaders"].values() if entry.get("differences")]
    if "worse" in first:
        return "worse within the margin"
    return "not compared" if not first else "better" if "better" in first else "no difference shown"


def verdict(comparison: Mapping[str, Any]) -> str:
    """The answer in a sentence per loader."""
    one, other = comparison["names"]
    said = []
    for loader, entry in comparison["loaders"].items():
        if entry["refused"]:
            said.append(f"Not compared on {loader}: {entry['refused']}.")
            continue
        for d in entry["differences"][:1]:
            name, span = name_of(d["metric"]), f"95 % interval of the change {signed(d['low'])} to {signed(d['high'])}"
            how = {"better": f"{other} is better than {one}", "worse": f"{other} is worse than {one}"}.get(
                d["verdict"], f"No difference between {other} and {one} is shown"
            )
            said.append(f"{how} on {loader}: {name} {number(d['second'])} against {number(d['first'])} ({span}, p = {number(d['p'])}).")
    return " ".join(said) or "The two runs evaluated no loader of the same name."


def signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def headlines(comparison: Mapping[str, Any]) -> Iterator[Headline]:
    for loader, entry in comparison["loaders"].items():
        for d in (entry.get("differences") or ())[:3]:
            way: Literal["higher", "lower"] = "lower" if d["better"] == "lower" else "higher"
            scope = f"B minus A on {loader}, {plural(int(entry['n'][1]), 'sample')}{'' if entry['paired'] else ', unpaired'}"
            yield Headline(
                name=f"change of {name_of(d['metric'])}", value=d["change"], low=d["low"], high=d["high"], scope=scope, better=way
            )


def loader_sections(comparison: Mapping[str, Any], loader: str, records: tuple[Record, Record]) -> list[Section | None]:
    entry = comparison["loaders"][loader]
    slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in loader.lower())[:40]
    title = f"Comparison on {loader}"
    if entry["refused"]:
        return [Section(name=f"comparison-{slug}", title=title, notes=(f"Not compared: {entry['refused']}.",))]
    how = "differences are resampled in pairs, accuracy is tested by McNemar."
    if entry.get("groups"):
        how = f"differences are resampled in pairs, over the {entry['groups']:,} sequences or images that they belong to."
    one, other = comparison["names"]
    count = plural(int(entry["n"][0]), "sample")
    notes = [
        f"A is {one}, B is {other}. Both predicted the same {count}: {how}"
        if entry["paired"]
        else f"Unpaired, and so less sure: {entry['reason']} A has {count}, B {entry['n'][1]:,}."
    ]
    if entry["paired"] and entry["reason"]:
        notes.append(str(entry["reason"]))
    pictures = [p for p in (class_picture(slug, entry), score_picture(slug, loader, entry, records)) if p is not None]
    first, second = (
        tuple(table for table in tables if table.rows)
        for tables in ((difference_table(entry), answers_table(entry)), (class_table(entry), sample_table(entry)))
    )
    sections: list[Section | None] = [Section(name=f"comparison-{slug}", title=title, notes=tuple(notes), tables=first)]
    if pictures or second:
        sections.append(Section(name=f"details-{slug}", title=f"Where they differ on {loader}", pictures=tuple(pictures), tables=second))
    return sections


def difference_table(entry: Mapping[str, Any]) -> Table:
    rows = tuple(
        (name_of(d["metric"]), d["first"], d["second"], d["change"], d["low"], d["high"], d["p"], WORDS[d["verdict"]])
        for d in entry["differences"]
    )
    return Table(
        name="differences",
        title="Is B better?",
        columns=("metric", "A", "B", "B − A", "95 % from", "to", "p", "B is"),
        formats=("text", "number", "number", "number", "number", "number", "number", "text"),
        rows=rows,
        note="Each row is tested alone: of many metrics, one in twenty differs by chance.",
    )


def answers_table(entry: Mapping[str, Any]) -> Table:
    counts = entry.get("changes") or {}
    rows: tuple[tuple[Cell, ...], ...] = (
        (("A right", counts["both_right"], counts["lost"]), ("A wrong", counts["won"], counts["both_wrong"])) if counts else ()
    )
    note = f"Both gave the same answer to {plural(counts['agree'], 'sample')}." if counts else ""
    return Table(
        name="answers", title="Answers", columns=("", "B right", "B wrong"), formats=("text", "count", "count"), rows=rows, note=note
    )


def class_table(entry: Mapping[str, Any]) -> Table:
    names = entry["class_names"]
    rows = [
        (names[r["class"]], r["support"], *r["recall"], *r["f1"], difference(r["f1"]), r["low"], r["high"])
        for r in entry.get("per_class") or ()
    ]
    rows.sort(key=lambda r: (r[6] is None, r[6] or 0.0))
    return Table(
        name="classes",
        title="Per class",
        columns=("class", "support", "recall A", "recall B", "F1 A", "F1 B", "B − A", "95 % from", "to"),
        formats=("text", "count", "share", "share", "share", "share", "share", "share", "share"),
        rows=tuple(rows),
        note="Sorted by the change of F1, the largest loss first.",
        folded=len(rows) > 12,
    )


def difference(pair: tuple[float | None, float | None]) -> float | None:
    return None if pair[0] is None or pair[1] is None else pair[1] - pair[0]


def sample_table(entry: Mapping[str, Any]) -> Table:
    names = entry["class_names"]

    def named(value: Any) -> str:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return names[value] if whole and 0 <= value < len(names) else number(float(value))

    rows = tuple(
        (str(s["sample"]), named(s["target"]), *(named(v) for v in s["prediction"]), *s["loss"]) for s in entry.get("samples") or ()
    )
    moved = entry.get("moved", 0)
    return Table(
        name="samples",
        title="Samples that changed",
        columns=("sample", "true", "A says", "B says", "loss A", "loss B"),
        formats=("text", "text", "text", "text", "number", "number"),
        rows=rows,
        note=f"{len(rows)} of {plural(moved, 'sample')}, from the largest loss to the largest gain; numbered from 0 without a name.",
        folded=len(rows) > 12,
    )


def class_picture(slug: str, entry: Mapping[str, Any]) -> Picture | None:
    rows, names = entry.get("per_class") or (), entry["class_names"]
    if not 2 <= len(rows) <= WIDEST:
        return None
    legend = (("A", FIRST), ("B", SECOND))
    panels = tuple(
        {
            "kind": "bars",
            "title": f"{title} per class",
            "names": list(names),
            "bars": [{"label": label, "colour": colour, "values": [r[key][i] for r in rows]} for i, (label, colour) in enumerate(legend)],
        }
        for key, title in (("recall", "Recall"), ("precision", "Precision"))
    )
    largest = max(rows, key=lambda r: abs(difference(r["f1"]) or 0.0))
    alt = f"Recall and precision of A and B per class; F1 of {names[largest['class']]} changes most, by {number(difference(largest['f1']))}"
    return Picture(name=f"classes-{slug}", title="Per class", alt=alt, panels=panels, legend=legend)


def score_picture(slug: str, loader: str, entry: Mapping[str, Any], records: tuple[Record, Record]) -> Picture | None:
    """ROC and PR curves of both, where there are two classes; how far the confidence of both can be believed."""
    sides = [record.facts["evaluation"][loader] for record in records]
    panels: list[Mapping[str, Any]] = []
    curves = [side.get("curves") or {} for side in sides]
    pair = (("A", FIRST), ("B", SECOND))
    if all(list(c) == ["1"] for c in curves):
        for title, x, y in (("ROC curve", "false_positive_rate", "true_positive_rate"), ("Precision and recall", "recall", "precision")):
            drawn = [line(c["1"][x], c["1"][y], label, colour, band=False) for c, (label, colour) in zip(curves, pair, strict=True)]
            panels.append(lines(title, drawn, xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), limits=[0, 1.02]))
    bins = [side.get("reliability") for side in sides]
    if all(bins):
        drawn = []
        for found, (label, colour) in zip(bins, pair, strict=True):
            full = np.asarray(found["count"]) >= FEWEST
            drawn.append(line(np.asarray(found["confidence"])[full], np.asarray(found["accuracy"])[full], label, colour))
        drawn.append(line([0, 1], [0, 1], "as sure as right", "#94a4a2", dash=True))
        panels.append(lines("Accuracy by confidence", drawn, xlabel="confidence", ylabel="accuracy", limits=[0, 1.02]))
    if not panels:
        return None
    legend = (*pair, ("as sure as right", "#94a4a2")) if all(bins) else pair
    return Picture(name=f"scores-{slug}", title="Scores", alt="Curves of the scores of A and B", panels=tuple(panels), legend=legend)


def curves_section(comparison: Mapping[str, Any], records: tuple[Record, Record]) -> Section | None:
    panels = []
    for name, title in CURVES:
        drawn = []
        for record, label, colour in zip(records, ("A", "B"), (FIRST, SECOND), strict=True):
            if name in set(record.names()):
                series = record.series(name)
                drawn.append(line(series.step, series.value, label, colour))
        if drawn:
            panels.append(lines(title, drawn))
    if not panels:
        return None
    legend = (("A", FIRST), ("B", SECOND))
    alt = f"Training curves of {comparison['names'][0]} (A) and {comparison['names'][1]} (B)"
    picture = Picture(name="curves", title="", alt=alt, panels=tuple(panels), legend=legend)
    return Section(name="curves", title="Training curves", pictures=(picture,))


def differing_section(comparison: Mapping[str, Any]) -> Section:
    def table(name: str, title: str) -> Table:
        rows = tuple((str(key), *("–" if v is None else str(v) for v in pair)) for key, *pair in comparison[name])
        return Table(name=name, title=title, columns=("key", "A", "B"), formats=("text", "text", "text"), rows=rows)

    tables = tuple(t for t in (table("config", "Configuration"), table("versions", "Versions")) if t.rows)
    only = [f"{', '.join(names)} was evaluated by {side} alone." for names, side in zip(comparison["only"], "AB", strict=True) if names]
    notes = tuple(only) if tables or only else ("Configuration and versions are the same.",)
    return Section(name="differs", title="What differs", notes=notes, tables=tables)
