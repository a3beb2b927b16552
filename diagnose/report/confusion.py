"""The confusion matrix as a picture, and its largest cells off the diagonal as a table."""

from __future__ import annotations

import numpy as np

from diagnose.report.panels import WIDEST, matrix
from diagnose.report.samples import Samples, cells
from diagnose.report.text import number
from diagnose.report.values import Cell, Picture, Table

PAIRS = 12


def confusion_picture(slug: str, confusion: list[list[int]], names: list[str], tested: Samples | None) -> Picture:
    counts = np.asarray(confusion, dtype=np.float64)
    right, total = float(np.trace(counts)), float(counts.sum())
    alt = f"Confusion matrix of {len(counts)} classes: {number(right)} of {number(total)} samples on the diagonal"
    note = "Rows are true classes, columns are predicted ones. Blue is right, orange is wrong."
    if len(counts) > WIDEST:
        note += " Classes that are confused with each other stand together; the table of confused pairs has the numbers."
    panels = [matrix(counts, names), matrix(counts, names, normalise=True)]
    if tested is not None and len(counts) <= WIDEST:
        panels[0]["samples"] = cells(tested)
    return Picture(name=f"confusion-{slug}", title="Confusion matrix", alt=alt, note=note, panels=tuple(panels))


def confused(confusion: list[list[int]], names: list[str], tested: Samples | None) -> Table:
    """The pairs of classes that are most often confused, with the worst samples of each where they are known."""
    counts = np.asarray(confusion, dtype=np.float64)
    support = counts.sum(axis=1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0.0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [(i, j) for i, j in (divmod(int(flat), len(counts)) for flat in order) if wrong[i, j] > 0]
    rows: list[tuple[Cell, ...]] = []
    for i, j in pairs:
        such = () if tested is None else (", ".join(tested.among(i, j, 3)),)
        rows.append((names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / support[i]), *such))
    named = tested is not None
    return Table(
        name="confused",
        title="Most confused pairs",
        columns=("true", "predicted", "samples", "share of true", *(("such as",) if named else ())),
        formats=("text", "text", "count", "share", *(("text",) if named else ())),
        rows=tuple(rows),
        note="No sample was confused." if not rows else tested.numbering if tested is not None else "",
    )
