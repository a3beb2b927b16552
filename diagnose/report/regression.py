"""Values instead of classes: predictions against targets, residuals, errors in parts of the range, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.report.text import number, percent
from diagnose.report.values import Picture, Table

DRAWN = 2000


def values_picture(slug: str, record: Record, entry: Mapping[str, Any], prefix: str) -> Picture | None:
    """Predictions against targets, and how the residuals are spread."""
    panels: list[dict[str, Any]] = []
    target, guess = (record.arrays.get(f"{prefix}/{k}") for k in ("target", "prediction"))
    if target is not None and guess is not None and target.ndim == 1 and guess.shape == target.shape and len(target):
        shown = np.linspace(0, len(target) - 1, min(DRAWN, len(target))).astype(int)
        x, y = ([float(f"{v:.4g}") for v in a[shown].astype(float).tolist()] for a in (target, guess))
        panels.append(
            {"kind": "agreement", "title": "Predictions against targets", "x": x, "y": y, "xlabel": "target", "ylabel": "prediction"}
        )
    residuals = entry.get("residuals") or {}
    if residuals.get("count"):
        edges = [float(f"{v:.5g}") for v in residuals["edges"]]
        title = "Residuals (prediction minus target)"
        panels.append({"kind": "histogram", "title": title, "edges": edges, "count": list(residuals["count"])})
    if not panels:
        return None
    note = ""
    if residuals:
        note = f"Residuals: mean {number(residuals.get('mean'))}, standard deviation {number(residuals.get('std'))}, "
        note += f"median of their size {number(residuals.get('median_absolute'))}."
    if target is not None and len(target) > DRAWN:
        note += f" {DRAWN:,} of {len(target):,} samples are drawn."
    return Picture(name=f"values-{slug}", title="Predictions and residuals", alt=note or "Predictions against targets", note=note,
                   panels=tuple(panels))  # fmt: skip


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
            "not known" if row.get("nominal") is None else percent(row["nominal"]),
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
