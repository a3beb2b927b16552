"""How well the scores rank the samples: precision-recall and ROC curves, and the thresholds worth a look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnose.report.panels import GUIDE, PETROFF, line, lines
from diagnose.report.text import number
from diagnose.report.values import Picture, Table

COLOURED = 6  # of more classes, those that are ranked worst have a colour
GREY = "#94a4a2"


def curves_picture(slug: str, entry: Mapping[str, Any], names: list[str]) -> Picture | None:
    """Precision-recall and ROC curve of each class against the rest; ``None`` where no curve was measured."""
    curves = {int(k): v for k, v in (entry.get("curves") or {}).items()}
    rows = entry.get("per_class") or []
    if not curves:
        return None
    areas = {c: float(row.get("average_precision") or 0.0) for c, row in enumerate(rows)}
    worst = sorted(curves, key=lambda c: areas.get(c, 0.0))[:COLOURED]
    shown = sorted(worst)
    colour = {c: PETROFF[i] for i, c in enumerate(shown)}
    order = [c for c in curves if c not in colour] + shown  # what has a colour is drawn last, so above
    binary = len(curves) == 1 and len(rows) == 2
    precision = [_curve(curves[c]["recall"], curves[c]["precision"], names[c], colour.get(c)) for c in order]
    roc = [_curve(curves[c]["false_positive_rate"], curves[c]["true_positive_rate"], names[c], colour.get(c)) for c in order]
    diagonal = line([0, 1], [0, 1], "as good as a coin", GUIDE, dash=True)
    guides = []
    if binary and rows[1].get("support") is not None and entry.get("n"):
        share = rows[1]["support"] / entry["n"]
        guides = [{"y": share, "label": f"share of {names[1]} {number(share)}"}]
    panels = (
        lines("Precision and recall", precision, xlabel="recall", ylabel="precision", limits=[0, 1.02], unit=True, guides=guides),
        lines("ROC", [diagonal, *roc], xlabel="false positive rate", ylabel="true positive rate", limits=[0, 1.02], unit=True),
    )
    areas_named = (("average_precision", "average precision"), ("roc_auc", "area under ROC"))
    said = ", ".join(f"{label} {number(entry[key])}" for key, label in areas_named if entry.get(key) is not None)
    subject = f"{names[1]} against {names[0]}" if binary else f"each of {len(curves)} classes against the rest"
    note = f"Curves of {subject}{f': {said}' if said else ''}."
    if len(curves) > COLOURED:
        note += f" The {COLOURED} classes of lowest average precision have a colour."
    legend = () if binary else tuple((names[c], colour[c]) for c in shown)
    if len(curves) > COLOURED:
        legend = (*legend, ("other classes", GREY))
    return Picture(name=f"curves-{slug}", title="Precision, recall and ROC", alt=note, note=note, panels=panels, legend=legend)


def _curve(x: list[float], y: list[float], name: str, colour: str | None) -> dict[str, Any]:
    return line(x, y, name, colour or GREY, points=10_000) | ({} if colour else {"faint": True})


def thresholds(entry: Mapping[str, Any], names: list[str]) -> Table:
    """What choosing a threshold buys, for two classes; no costs are assumed."""
    rows = tuple(
        tuple(row.get(k) for k in ("choice", "threshold", "precision", "recall", "specificity", "f1", "predicted"))
        for row in entry.get("thresholds") or ()
    )
    positive = names[1] if len(names) > 1 else "class 1"
    return Table(
        name="thresholds",
        title=f"Thresholds for {positive}",
        columns=("choice", "threshold", "precision", "recall", "specificity", "F1", "predicted"),
        formats=("text", "number", "share", "share", "share", "share", "count"),
        rows=rows,
        note="Chosen on the samples that they are judged by, they look better than they are: choose on validation data. "
        "–: no threshold reaches it."
        if rows
        else "",
    )
