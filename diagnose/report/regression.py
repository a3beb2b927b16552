"""Values instead of classes: predictions against targets, residuals, errors in parts of the range, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.report.text import number
from diagnose.report.values import Picture, Table

DRAWN = 2000  # points of all panels
OUTPUTS = 6  # of more, the first are drawn


def values_picture(slug: str, record: Record, entry: Mapping[str, Any], prefix: str) -> Picture | None:
    """Predictions against targets, and how the residuals are spread."""
    panels: list[dict[str, Any]] = []
    target, guess = (record.arrays.get(f"{prefix}/{k}") for k in ("target", "prediction"))
    note = ""
    if target is not None and guess is not None and target.ndim in (1, 2) and guess.shape == target.shape and target.size:
        known, outputs = len(target), target.size // len(target)
        most = DRAWN // min(outputs, OUTPUTS)
        shown = np.linspace(0, known - 1, min(most, known)).astype(int)
        for k in range(min(outputs, OUTPUTS)):
            x, y = ([float(f"{v:.4g}") for v in a.reshape(known, -1)[shown, k].astype(float).tolist()] for a in (target, guess))
            title = "Predictions against targets" if outputs == 1 else f"Output {k}"
            panels.append({"kind": "agreement", "title": title, "x": x, "y": y, "xlabel": "target", "ylabel": "prediction"})
        note += f" {len(shown):,} of {known:,} samples are drawn." if len(shown) < known else ""
        note += f" Of {outputs} outputs, the first {OUTPUTS} are drawn." if outputs > OUTPUTS else ""
    residuals = entry.get("residuals") or {}
    if residuals.get("count"):
        edges = [float(f"{v:.5g}") for v in residuals["edges"]]
        title = "Residuals (prediction minus target)"
        panels.append({"kind": "histogram", "title": title, "edges": edges, "count": list(residuals["count"])})
    if not panels:
        return None
    if residuals:
        numbers = (number(residuals.get(k)) for k in ("mean", "std", "median_absolute"))
        said = "Residuals: mean {}, standard deviation {}, median of their size {}.".format(*numbers)
        note = f"{said} The outermost bars hold all that lies beyond.{note}"
    note = note.strip()
    alt = note or "Predictions against targets"
    return Picture(name=f"values-{slug}", title="Predictions and residuals", alt=alt, note=note, panels=tuple(panels))


def by_quantile(entry: Mapping[str, Any]) -> Table:
    rows = tuple(tuple(row.get(k) for k in ("low", "high", "n", "mae", "rmse", "bias")) for row in entry.get("by_quantile") or ())
    return Table(
        name="by-quantile",
        title="Errors in parts of the range",
        columns=("target from", "to", "samples", "MAE", "RMSE", "bias"),
        formats=("number", "number", "count", "number", "number", "number"),
        rows=rows,
        note="Tenths of the targets; bias is prediction minus target." if rows else "",
    )


def coverage(entry: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            "not known" if row.get("nominal") is None else f"{100 * row['nominal']:g} %",
            *(row.get(k) for k in ("coverage", "low", "high", "width", "score")),
        )
        for row in entry.get("coverage") or ()
    )
    return Table(
        name="coverage",
        title="Predicted intervals",
        columns=("meant to hold", "hold", "95 % from", "to", "mean width", "interval score"),
        formats=("text", "share", "share", "share", "number", "number"),
        rows=rows,
    )
