"""The check that batch norm gives in evaluation what it gave in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnose.record import Record
from diagnose.report.text import number, percent, plural
from diagnose.report.values import Check, Table

TITLE = "Batch norm gives in evaluation what it gave in training"
FACTOR = 2.0  # times what the batch size explains
SMALL = 0.05  # standard deviations of the normalised values: less than that no layer behind it notices
LEFT = 0.05  # share of the start values in a running average


def batch_norm_check(record: Record) -> Check | None:
    """The answer for all layers, the worst first; ``None`` where there is no batch norm."""
    entries = record.facts.get("batch_norm")
    if not entries:
        return None
    said = {entry["name"]: fault(entry) for entry in entries}
    faults = [f"{name}: {text}" for name, text in said.items() if text]
    measured = [entry for entry in entries if entry.get("found") is not None]
    if faults:
        more = f" And {plural(len(faults) - 3, 'other layer')}." if len(faults) > 3 else ""
        return Check(title=TITLE, state="failed", text=f"{'. '.join(faults[:3])}.{more}")
    if not measured:
        return Check(title=TITLE, state="unjudged", text="No batch norm ran in training mode on the batches that were tried.")
    worst = max(measured, key=lambda e: float(e["found"]) / max(float(e["expected"]), 1e-12))
    text = (
        f"{plural(len(measured), 'layer')}: with the same input both modes differ by at most {number(worst['found'])} standard deviations "
        f"({worst['name']}); batches of {number(worst['values'])} values per channel explain {number(worst['expected'])}."
    )
    return Check(title=TITLE, state="passed", text=text)


def fault(entry: Mapping[str, Any]) -> str:
    """What is wrong with a layer in a clause, or nothing."""
    if not entry["tracked"]:
        return "it keeps no running averages, so in evaluation too an output depends on the other samples of its batch"
    if entry["frozen"]:
        return "" if entry["updates"] else "it stood in evaluation mode in training and its running averages have never been updated"
    if not entry["updates"]:
        return "its running averages have never been updated"
    if entry["momentum"] == 1:
        return "with momentum=1 its running averages are those of the last batch alone"
    found, expected = entry.get("found"), entry.get("expected")
    if found is None or expected is None or found <= max(SMALL, FACTOR * expected):
        return ""
    apart = (
        f"with the same input both modes differ by {number(found)} standard deviations where batches of {number(entry['values'])} values "
    )
    if entry["start"] > LEFT:
        return (
            f"{apart}explain {number(expected)}: its running averages still hold {percent(entry['start'])} of their start values after "
            f"{plural(entry['updates'], 'batch')}, momentum={number(entry['momentum'])} is too small for so few"
        )
    return f"{apart}explain {number(expected)}: its running averages are stale, or belong to other data or weights"


def batch_norm_table(record: Record) -> Table:
    rows = tuple(
        tuple(entry.get(key) for key in ("name", "values", "momentum", "updates", "start", "found", "expected"))
        for entry in record.facts.get("batch_norm") or ()
    )
    return Table(
        name="batch-norm",
        title="Batch norm in both modes",
        columns=("layer", "values per channel", "momentum", "batches seen", "of start values", "difference", "explained"),
        formats=("text", "count", "number", "count", "share", "number", "number"),
        rows=rows,
        note="Difference of the normalised outputs in training and in evaluation mode for the same input, in standard deviations, and what "
        "the batch size explains.",
        folded=True,
    )
