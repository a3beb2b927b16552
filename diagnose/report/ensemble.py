"""An ensemble: each member, their mean and their vote, how far they disagree, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from diagnose.record import Record
from diagnose.report.panels import PETROFF, VAL
from diagnose.report.text import number, plural
from diagnose.report.values import Cell, Picture, Section, Table

KINDS = {
    "seeds": "from different seeds",
    "bootstrap": "on bootstrap samples of the training part",
    "snapshot": "from the ends of the cycles of one run",
    "heads": "that share a trunk",
    "mc_dropout": "of one network with its dropout on",
    "checkpoints": "from checkpoints",
}
NAMES = {"accuracy": "accuracy", "log_loss": "log loss", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}
LOWER = ("log_loss", "rmse", "mae")
COSTS = {
    "train_seconds": "seconds of training",
    "inference_seconds": "seconds of inference on the test part",
    "parameters": "parameters kept",
}
DRAWN = 24  # members in the picture


def ensemble_section(record: Record) -> Section | None:
    """What the ensemble is worth; ``None`` where there is none."""
    fact = record.facts.get("ensemble")
    if not fact:
        return None
    metrics = [m for m in NAMES if m in fact["rows"][0]["metrics"]]
    pictures = tuple(p for p in (picture(fact, metrics),) if p.panels)
    tables = (members(fact, metrics), disagreement(fact), pairs(fact), cost(fact))
    return Section(
        name="ensemble", title="Ensemble", notes=tuple(notes(fact)), pictures=pictures, tables=tuple(t for t in tables if t.rows)
    )


def judged(fact: Mapping[str, Any]) -> str:
    """The row that the evaluation is of: ``mean``, or ``vote`` where there are no probabilities."""
    return "mean" if any(row["role"] == "mean" for row in fact["rows"]) else "vote"


def notes(fact: Mapping[str, Any]) -> Iterator[str]:
    count = sum(row["role"] == "member" for row in fact["rows"])
    how, what = KINDS.get(str(fact["kind"]), ""), "values" if fact["task"] == "regression" else "probabilities"
    whose = f"the mean of their {what}" if judged(fact) == "mean" else "their majority vote"
    yield f"{plural(count, 'member')}{f' {how}' if how else ''}. The numbers of the evaluation are those of {whose}."
    if fact["failed"]:
        lost = "; ".join(f"{name}: {reason}" for name, reason in fact["failed"].items())
        yield f"{count} of {fact['wanted']} members are in it. Left out: {lost}."
    for metric, found in list(fact["average"].items())[:2]:
        sure = "no difference is shown" if found["low"] <= 0 <= found["high"] else "better" if gains(metric, found["change"]) else "worse"
        yield (
            f"{title(metric)}: {number(found['value'] + found['change'])} against {number(found['value'])} of "
            f"the average member, a change of {signed(found['change'])} (95 % interval {signed(found['low'])} to {signed(found['high'])}, "
            f"the same samples): {sure}."
        )


def title(metric: str) -> str:
    return NAMES[metric][:1].upper() + NAMES[metric][1:]


def gains(metric: str, change: float) -> bool:
    return change < 0 if metric in LOWER else change > 0


def signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def picture(fact: Mapping[str, Any], metrics: list[str]) -> Picture:
    """The intervals of each row for the first two metrics."""
    panels, said = [], []
    rows = [row for row in fact["rows"] if row["role"] == "member"][:DRAWN] + [row for row in fact["rows"] if row["role"] != "member"]
    for metric in [m for m in metrics if all(m in row["metrics"] for row in rows if row["role"] in ("member", "mean"))][:2]:
        shown = [row for row in rows if metric in row["metrics"] and row["metrics"][metric][1] is not None]
        values = [row["metrics"][metric] for row in shown]
        panels.append(
            {
                "kind": "intervals",
                "title": title(metric),
                "names": [row["name"] for row in shown],
                "value": [v[0] for v in values],
                "low": [v[1] for v in values],
                "high": [v[2] for v in values],
                "colours": [PETROFF[0] if row["role"] in ("member", "beside") else VAL for row in shown],
            }
        )
        own = next((row["metrics"][metric][0] for row in shown if row["role"] == judged(fact)), None)
        each = [v[0] for v, row in zip(values, shown, strict=True) if row["role"] == "member"]
        said.append(f"{NAMES[metric]} of the members from {number(min(each))} to {number(max(each))}, of the ensemble {number(own)}")
    note = f"The first {DRAWN} members are drawn." if sum(row["role"] == "member" for row in fact["rows"]) > DRAWN else ""
    return Picture(name="ensemble", title="Members and ensemble", alt="; ".join(said), note=note, panels=tuple(panels))


def members(fact: Mapping[str, Any], metrics: list[str]) -> Table:
    """Each row with its numbers, and what the ensemble gains over it."""
    first = metrics[0]
    body: list[tuple[Cell, ...]] = []
    for row in fact["rows"]:
        low, high = (row["metrics"].get(first) or (None, None, None))[1:]
        gain = row["gain"].get(first) or {}
        rest = (row["metrics"][m][0] if m in row["metrics"] else None for m in metrics[1:])
        body.append((row["name"], row["metrics"][first][0], low, high, *rest, gain.get("change"), gain.get("low"), gain.get("high")))
    columns = ("model", NAMES[first], "95 % from", "to", *(NAMES[m] for m in metrics[1:]), f"{judged(fact)} minus it", "95 % from", "to")
    ties = "A tie of the vote goes to the class of higher mean probability. " if any(r["role"] == "vote" for r in fact["rows"]) else ""
    note = (
        f"{ties}The last three columns are the change of {NAMES[first]} from the row to the {judged(fact)}, resampled on the same samples."
    )
    formats: Any = ("text", *(["number"] * (len(columns) - 1)))
    return Table(name="members", title="Members", columns=columns, formats=formats, rows=tuple(body), note=note)


def disagreement(fact: Mapping[str, Any]) -> Table:
    """How far the members disagree, in a few numbers."""
    found = fact["disagreement"]
    words = {
        "mean": "share of the samples on which two members differ, mean over pairs",
        "predictive_entropy": "entropy of the mean probability (nats)",
        "expected_entropy": "mean entropy of the members: doubt that all share",
        "mutual_information": "mutual information: doubt that comes from their disagreement",
        "mutual_information_right": "the same where the ensemble is right",
        "mutual_information_wrong": "the same where it is wrong",
        "spread": "standard deviation over members, mean over samples",
        "ambiguity": "what averaging takes off the mean squared error (Krogh and Vedelsby)",
    }
    if fact["task"] == "regression":
        words["mean"] = "root mean square of what two members differ by, mean over pairs"
    rows = tuple((text, found[key]) for key, text in words.items() if key in found)
    return Table(name="disagreement", title="Disagreement", columns=("measure", "value"), formats=("text", "number"), rows=rows)


def pairs(fact: Mapping[str, Any]) -> Table:
    """The disagreement of each pair of members."""
    names = tuple(row["name"] for row in fact["rows"] if row["role"] == "member")
    rows = tuple((name, *values) for name, values in zip(names, fact["disagreement"]["matrix"], strict=True))
    formats: Any = ("text", *(["number"] * len(names)))
    return Table(name="pairs", title="Disagreement of each pair", columns=("model", *names), formats=formats, rows=rows, folded=True)


def cost(fact: Mapping[str, Any]) -> Table:
    """What the ensemble costs beside one member."""
    rows: list[tuple[Cell, ...]] = []
    for key, text in COSTS.items():
        if (found := fact["cost"].get(key)) is not None:
            one, every = found
            rows.append((text, one, every, every / one if one else None))
    return Table(
        name="cost",
        title="Cost",
        columns=("of", "one member", "ensemble", "times"),
        formats=("text", "number", "number", "number"),
        rows=tuple(rows),
        note="The members were not trained one by one, so there is no training of one member to compare with."
        if fact["cost"].get("train_seconds") is None and fact["kind"] == "heads"
        else "",
    )
