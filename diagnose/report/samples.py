"""Samples to look at: those of highest loss, suspected label errors, and the parts on which the model is weak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.record import Record
from diagnose.report.text import number, plural
from diagnose.report.thumbnails import described, is_image, thumbnails
from diagnose.report.values import Cell, Gallery, Sample, Table

WORST = 12
LABELS = 50
LINKED = 300  # cells of a matrix that have samples behind them
EACH = 8  # samples behind a cell


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one loader, with names for people."""

    target: NDArray[Any]
    prediction: NDArray[Any]
    loss: NDArray[np.float64] | None
    ids: NDArray[Any] | None
    names: list[str]

    @classmethod
    def of(cls, record: Record, prefix: str, names: list[str]) -> Samples | None:
        """``None`` where the record has no samples with one target each."""
        target, guess = (record.arrays.get(f"{prefix}/{k}") for k in ("target", "prediction"))
        if target is None or guess is None or target.ndim != 1 or guess.shape != target.shape or not len(target):
            return None
        loss, ids = record.arrays.get(f"{prefix}/loss"), record.arrays.get(f"{prefix}/id")
        usable = loss is not None and loss.shape == target.shape
        return cls(
            target=np.asarray(target),
            prediction=np.asarray(guess),
            loss=np.asarray(loss, dtype=np.float64) if usable else None,
            ids=np.asarray(ids) if ids is not None and len(ids) == len(target) else None,
            names=names,
        )

    def label(self, row: int) -> Cell:
        """What a sample is called: its own id, or its number."""
        return int(row) if self.ids is None else str(self.ids[row])

    def named(self, value: Any) -> str:
        """A class by its name, or a value as a number."""
        whole = np.issubdtype(type(value), np.integer)
        return self.names[int(value)] if whole and 0 <= value < len(self.names) else number(float(value))

    def worst_first(self) -> NDArray[np.int64]:
        """All rows, the highest loss first; without losses in their order."""
        if self.loss is None:
            return np.arange(len(self.target))
        return np.argsort(-np.nan_to_num(self.loss, nan=np.inf), kind="stable")

    def among(self, true: int, predicted: int, count: int) -> list[str]:
        """The worst samples of one cell of the confusion matrix, by name."""
        rows = np.flatnonzero((self.target == true) & (self.prediction == predicted))
        if self.loss is not None:
            rows = rows[np.argsort(-np.nan_to_num(self.loss[rows], nan=np.inf), kind="stable")]
        return [str(self.label(int(row))) for row in rows[:count]]

    @property
    def numbering(self) -> str:
        return "Samples are numbered from 0, in the order of the loader." if self.ids is None else ""


def worst_samples(tested: Samples) -> Table:
    """The samples of highest loss."""
    rows: tuple[tuple[Cell, ...], ...] = ()
    if tested.loss is not None:
        order = tested.worst_first()[:WORST]
        rows = tuple(
            (tested.label(i), tested.named(tested.target[i]), tested.named(tested.prediction[i]), float(tested.loss[i])) for i in order
        )
    return Table(
        name="worst",
        title="Samples with the highest loss",
        columns=("sample", "true", "predicted", "loss"),
        formats=("count" if tested.ids is None else "text", "text", "text", "number"),
        rows=rows,
        note=tested.numbering,
        folded=True,
    )


def gallery(
    record: Record, prefix: str, tested: Samples, features: Sequence[Mapping[str, Any]] = (), words: Sequence[str] = ()
) -> Gallery | None:
    """The kept inputs of the samples of highest loss, tokens by their ``words``; ``None`` where no input was kept."""
    inputs, rows = record.arrays.get(f"{prefix}/input"), record.arrays.get(f"{prefix}/input/rows")
    if inputs is None or rows is None or len(inputs) != len(rows) or not len(rows) or int(np.max(rows)) >= len(tested.target):
        return None
    pictures = thumbnails(inputs) if is_image(inputs) else [""] * len(rows)
    texts = [""] * len(rows) if is_image(inputs) else described(inputs, features, words)
    samples = tuple(
        Sample(
            row=int(row),
            name=str(tested.label(row)),
            true=tested.named(tested.target[row]),
            predicted=tested.named(tested.prediction[row]),
            loss=None if tested.loss is None else float(tested.loss[row]),
            image=picture,
            text=text,
        )
        for row, picture, text in zip(rows.tolist(), pictures, texts, strict=True)
    )
    note = f"{plural(len(samples), 'sample')} of the data stand in this page; samples=0 leaves them out. {tested.numbering}".strip()
    if features and not is_image(inputs):
        note += " Of each, the columns furthest from their median are shown, and the median of all samples in brackets."
    return Gallery(name="samples", title="Samples with the highest loss", note=note, samples=samples)


def cells(tested: Samples) -> dict[str, list[list[Any]]]:
    """Samples behind the cells of the confusion matrix, the worst first: ``"true,predicted"`` → name and loss of each.

    Wrong cells come before right ones; at most `LINKED` cells have at most `EACH` samples each.
    """
    if not all(np.issubdtype(a.dtype, np.integer) for a in (tested.target, tested.prediction)):
        return {}
    found: dict[tuple[int, int], list[list[Any]]] = {}
    order = tested.worst_first()
    wrong = tested.target[order] != tested.prediction[order]
    for i in (*order[wrong].tolist(), *order[~wrong].tolist()):
        key = (int(tested.target[i]), int(tested.prediction[i]))
        if key not in found and len(found) == LINKED:
            continue
        behind = found.setdefault(key, [])
        if len(behind) < EACH:
            loss = None if tested.loss is None else float(f"{tested.loss[i]:.3g}")
            behind.append([i, str(tested.label(i)), loss])
    return {f"{i},{j}": behind for (i, j), behind in found.items()}


def label_errors(entry: Mapping[str, Any], tested: Samples | None, names: Sequence[str]) -> Table:
    """Labels that the model contradicts, the surest first."""
    known = entry.get("label_errors") or {}
    samples = known.get("samples") or []

    def name(value: int) -> str:
        return names[value] if value < len(names) else str(value)

    rows = tuple(
        (tested.label(s["row"]) if tested else s["row"], name(s["label"]), name(s["suggested"]), s["self_confidence"], s["probability"])
        for s in samples[:LABELS]
    )
    found, estimated = known.get("n"), known.get("estimated")
    note = ""
    if rows:
        note = (
            f"{plural(int(found or 0), 'label')} suspected by confident learning, about {number(round(estimated or 0))} estimated wrong. "
        )
        note += "A model that is unsure or overfitted suspects good labels too: look at the samples first."
        note += f" The {LABELS} least believed are shown." if len(samples) > LABELS else ""
    return Table(
        name="label-errors",
        title="Suspected label errors",
        columns=("sample", "label", "suggested", "probability of label", "of suggested"),
        formats=("count" if tested is None or tested.ids is None else "text", "text", "text", "share", "share"),
        rows=rows,
        note=note,
        folded=len(rows) > WORST,
    )


def weak_slices(entry: Mapping[str, Any]) -> Table:
    """Parts of the samples on which the model is worse than on the rest."""
    known = entry.get("slices") or {}
    share = entry.get("task") != "regression"
    sign = 1 if share else -1  # an error is higher where it is worse
    rows = tuple(
        (
            f"{s['column']} = {s['value']}",
            s["n"],
            *(
                None if s.get(k) is None else sign * s[k]
                for k in (("score", "low", "high", "rest") if share else ("score", "high", "low", "rest"))
            ),
            s.get("p"),
            s.get("within") or "",
        )
        for s in known.get("slices") or ()
    )
    what = "accuracy" if share else "mean error"
    tested = plural(int(known.get("tested") or 0), "slice")
    note = (
        f"Of {tested} looked at (classes, metadata, clusters), those that are worse beyond chance; p is corrected for their number (Holm)."
    )
    nested = any(row[-1] for row in rows)
    note += " A slice that is not weak without the samples of another one is part of it." if nested else ""
    return Table(
        name="slices",
        title="Weak slices",
        columns=("slice", "samples", what, "95 % from", "to", "on the rest", "p", *(("part of",) if nested else ())),
        formats=("text", "count", *(("share",) * 4 if share else ("number",) * 4), "number", *(("text",) if nested else ())),
        rows=rows if nested else tuple(row[:-1] for row in rows),
        note=note if rows else "",
    )
