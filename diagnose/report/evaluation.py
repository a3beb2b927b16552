"""The evaluation: headline numbers beside their baselines, per-class table, confusion, calibration, worst samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from diagnose.record import Record
from diagnose.report.confusion import confused, confusion_picture
from diagnose.report.drawing import FEWEST
from diagnose.report.panels import PETROFF, WIDEST
from diagnose.report.ranking import curves_picture, thresholds
from diagnose.report.regression import by_quantile, coverage, values_picture
from diagnose.report.samples import Samples, gallery, label_errors, weak_slices, worst_samples
from diagnose.report.text import number, percent, plural
from diagnose.report.values import Cell, Headline, Picture, Section, Table

AVERAGES = ("macro", "micro", "weighted")
MEASURES = ("precision", "recall", "f1")
LOWER = {"mae", "mse", "rmse", "log_loss", "brier", "ece", "loss", "perplexity", "hamming_loss"}
FIRST = {
    "regression": ("mae", "rmse", "r2"),
    "next-token": ("perplexity", "accuracy", "log_loss"),
    "multilabel": ("accuracy", "macro_f1", "hamming_loss"),
}
CLASSIFIED = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")
NAMES = {
    "macro_f1": "macro F1", "f1": "F1", "r2": "R²", "mae": "MAE", "mse": "MSE", "rmse": "RMSE", "ece": "ECE", "mcc": "Matthews",
    "kappa": "Cohen's kappa", "roc_auc": "ROC AUC", "brier": "Brier score",
}  # fmt: skip
BINS = 15


def name_of(metric: str, task: object = None) -> str:
    """A metric in words."""
    if task == "multilabel" and metric == "accuracy":
        return "all labels right"
    return NAMES.get(metric, metric.replace("_", " "))


def evaluations(record: Record) -> dict[str, Mapping[str, Any]]:
    """The evaluation of each loader by its name."""
    found = record.facts.get("evaluation") or {}
    return {name: entry for name, entry in found.items() if isinstance(entry, Mapping)}


def headlines(record: Record) -> tuple[Headline, ...]:
    """The numbers of the first screen; without an evaluation, the best that validation gave."""
    chosen: list[Headline] = []
    for name, entry in evaluations(record).items():
        first = FIRST.get(str(entry.get("task")), CLASSIFIED)
        chosen += [measured(name, entry, metric) for metric in first if value_of(entry, metric) is not None][:3]
    if chosen:
        return tuple(chosen[:6])
    for series, label, better in (("val/accuracy", "validation accuracy", "higher"), ("val/loss", "validation loss", "lower")):
        if series in set(record.names()):
            value = record.series(series).value
            if np.isfinite(value).any():
                best = np.nanmax(value) if better == "higher" else np.nanmin(value)
                way: Literal["higher", "lower"] = "higher" if better == "higher" else "lower"
                chosen.append(Headline(name=label, value=float(best), scope="best of the run; no test was run", better=way))
    return tuple(chosen)


def counted(entry: Mapping[str, Any]) -> str:
    """How many samples there are; of dependent ones, in how many groups."""
    if not entry.get("groups"):
        return plural(int(entry["n"]), "sample")
    part = "token" if entry.get("task") == "next-token" else "prediction"
    return f"{plural(int(entry['n']), part)} in {plural(int(entry['groups']), unit(entry))}"


def unit(entry: Mapping[str, Any]) -> str:
    return "sequence" if entry.get("task") == "next-token" else "sample"


def value_of(entry: Mapping[str, Any], metric: str) -> float | None:
    raw = (entry.get("macro") or {}).get("f1") if metric == "macro_f1" and metric not in entry else entry.get(metric)
    return float(raw) if isinstance(raw, (int, float)) and not isinstance(raw, bool) and math.isfinite(raw) else None


def measured(loader: str, entry: Mapping[str, Any], metric: str) -> Headline:
    value, samples = value_of(entry, metric), entry.get("n")
    low, high = interval(entry, metric)
    baseline, baseline_name = baseline_of(entry, metric)
    return Headline(
        name=name_of(metric, entry.get("task")),
        value=value,
        low=low,
        high=high,
        baseline=baseline,
        baseline_name=baseline_name,
        independent=without_input(entry, metric),
        scope=f"{loader}, {counted(entry)}" if isinstance(samples, (int, float)) else loader,
        better="lower" if metric in LOWER else "higher",
    )


def interval(entry: Mapping[str, Any], metric: str) -> tuple[float | None, float | None]:
    """The recorded 95 % interval; for an accuracy without one, Wilson's.

    References:
        E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927), equation for the limits.
    """
    known = (entry.get("intervals") or {}).get(metric)
    if isinstance(known, (list, tuple)) and len(known) == 2:
        return known[0], known[1]
    share, count = value_of(entry, metric), entry.get("n")
    if metric != "accuracy" or share is None or not count:
        return None, None
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def baseline_of(entry: Mapping[str, Any], metric: str) -> tuple[float | None, str]:
    baseline = entry.get("baseline") or {}
    raw = baseline.get(metric, baseline.get("majority") if metric == "accuracy" else None)
    if not isinstance(raw, (int, float)):
        return None, ""
    usual = baseline.get("name") or ("mean predictor" if entry.get("task") == "regression" else "majority class")
    return float(raw), str((baseline.get("names") or {}).get(metric) or usual)


def without_input(entry: Mapping[str, Any], metric: str) -> float | None:
    """What the model's own predictions give that are dealt to the samples at random, so that no input tells them apart."""
    raw = (entry.get("independent") or {}).get(metric)
    return float(raw) if isinstance(raw, (int, float)) else None


def evaluation_sections(record: Record) -> tuple[Section, ...]:
    """A section per loader."""
    entries = evaluations(record)
    return tuple(section(record, name, entry, only=i == 0) for i, (name, entry) in enumerate(entries.items()))


def section(record: Record, name: str, entry: Mapping[str, Any], *, only: bool) -> Section:
    slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())[:40]
    names = class_names(record, entry)
    notes = [f"{counted(entry)} of {name}, task {entry.get('task', 'unknown')}."] if entry.get("n") else []
    if entry.get("groups"):
        notes.append(f"Intervals are over the {plural(int(entry['groups']), unit(entry))}: what belongs to one is not independent.")
    extracted = (record.facts.get("task") or {}).get("extracted_by")
    if extracted:
        notes.append(f"Predictions and targets were taken from {str(extracted).rstrip('.')}.")
    if entry.get("note"):
        notes.append(str(entry["note"]))
    prefix = str(entry.get("arrays") or "test")
    tested = Samples.of(record, prefix, names) if entry.get("arrays") or only else None
    confusion = entry.get("confusion")
    square = confusion if confusion and np.ndim(confusion) == 2 else None
    bins = entry.get("reliability") or (reliability(record) if only else None)
    made = (
        None if square is None else confusion_picture(slug, square, names, tested),
        quality_picture(slug, entry, names, bins),
        curves_picture(slug, entry, names),
        values_picture(slug, record, entry, prefix) if entry.get("task") == "regression" else None,
    )
    words = names if entry.get("task") == "next-token" else ()
    worst = gallery(record, prefix, tested, entry.get("features") or (), words) if tested is not None else None
    tables = (
        numbers(entry),
        per_class(entry, names),
        None if square is None else confused(square, names, tested),
        thresholds(entry, names),
        gap(record, name, entry) if only else None,
        by_quantile(entry),
        coverage(entry),
        weak_slices(entry),
        label_errors(entry, tested, names),
        worst_samples(tested) if tested is not None and worst is None else None,
    )
    return Section(
        name=f"evaluation-{slug}",
        title=f"Evaluation: {name}",
        notes=tuple(notes),
        pictures=tuple(p for p in made if p is not None),
        galleries=() if worst is None else (worst,),
        tables=tuple(t for t in tables if t is not None and (t.rows or t.name == "confused")),
    )


def class_names(record: Record, entry: Mapping[str, Any]) -> list[str]:
    rows = entry.get("per_class") or []
    given = [str(row.get("name", i)) for i, row in enumerate(rows)] or (record.facts.get("task") or {}).get("class_names") or []
    count = max(len(given), len(entry.get("confusion") or ()))
    return [*map(str, given), *(str(i) for i in range(len(given), count))]


def numbers(entry: Mapping[str, Any]) -> Table:
    rows = []
    for metric in ("accuracy", "macro_f1", *(k for k in entry if k not in ("accuracy", "macro_f1", "n", "classes", "non_finite"))):
        value = value_of(entry, metric)
        if value is not None:
            (low, high), (baseline, baseline_name) = interval(entry, metric), baseline_of(entry, metric)
            rows.append((name_of(metric, entry.get("task")), value, low, high, baseline, baseline_name, without_input(entry, metric)))
    return Table(
        name="numbers",
        title="All numbers",
        columns=("metric", "value", "95 % from", "to", "baseline", "of", "without input"),
        formats=("text", "number", "number", "number", "number", "text", "number"),
        rows=tuple(rows),
        note="Without input: the model's own predictions, dealt to the samples at random."
        if any(row[-1] is not None for row in rows)
        else "",
        folded=len(rows) > 8,
    )


def per_class(entry: Mapping[str, Any], names: list[str]) -> Table:
    body: list[tuple[Cell, ...]] = [
        (names[i], *(row.get(m) for m in MEASURES), row.get("support"), row.get("predicted"))
        for i, row in enumerate(entry.get("per_class") or [])
    ]
    many = len(body) > WIDEST
    if many:  # the table is long: what is to be looked at comes first
        body.sort(key=lambda row: (row[3] is None, row[3]))
    support = sum(row.get("support") or 0 for row in entry.get("per_class") or [])
    foot: list[tuple[Cell, ...]] = [
        (f"{average} average", *((entry[average]).get(m) for m in MEASURES), support, None)
        for average in AVERAGES
        if entry.get(average) and body
    ]
    undefined = "–: undefined, as the class has no sample or was never predicted; such a class counts as 0 in averages."
    notes = ["The lowest F1 comes first."] if many else []
    notes += [undefined] if any(cell is None for row in body for cell in row) else []
    return Table(
        name="per-class",
        title="Per class",
        columns=("class", "precision", "recall", "F1", "support", "predicted"),
        formats=("text", "share", "share", "share", "count", "count"),
        rows=(*body, *foot),
        footer=len(foot),
        note=" ".join(notes),
        folded=many,
    )


def gap(record: Record, name: str, entry: Mapping[str, Any]) -> Table | None:
    """Training data beside test data, measured alike; ``None`` where training data were not."""
    train = record.facts.get("evaluation.train") or evaluations(record).get("train")
    if not isinstance(train, Mapping) or name == "train":
        return None
    metrics = [m for m in ("accuracy", "macro_f1", "log_loss", "mae", "rmse", "r2", "perplexity", "hamming_loss")
               if value_of(entry, m) is not None and value_of(train, m) is not None]  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for metric in metrics:
        one, two = value_of(train, metric), value_of(entry, metric)
        assert one is not None
        assert two is not None
        rows.append((name_of(metric), one, two, *interval(entry, metric), two - one))
    return Table(
        name="gap",
        title="Training against test data",
        columns=("metric", "train", name, "95 % from", "to", "difference"),
        formats=("text", *(("number",) * 5)),
        rows=tuple(rows),
        note=f"{plural(int(train.get('n') or 0), 'training sample')}; both in evaluation mode and by the same step: "
        "the difference is that of the data, not that of dropout.",
    )


def quality_picture(slug: str, entry: Mapping[str, Any], names: list[str], bins: Mapping[str, Any] | None) -> Picture | None:
    """Precision and recall of each class, and how far confidence can be believed."""
    rows, panels, said, note = entry.get("per_class") or [], [], [], ""
    legend: tuple[tuple[str, str], ...] = ()
    if 2 <= len(rows) <= WIDEST:
        legend = (("precision", PETROFF[0]), ("recall", PETROFF[6]))
        bars = [{"label": m, "colour": c, "values": [r.get(m) for r in rows]} for m, c in legend]
        panels.append({"kind": "bars", "title": "Precision and recall", "names": names[: len(rows)], "bars": bars})
        weakest = min(range(len(rows)), key=lambda i: rows[i].get("f1") or 0.0)
        said.append(f"Precision and recall of each class; the lowest F1 is that of {names[weakest]}, {number(rows[weakest].get('f1'))}")
    if bins:
        panel = {"kind": "reliability", "title": "Confidence against accuracy"}
        panels.append(panel | {k: list(bins[k]) for k in ("confidence", "accuracy", "count")})
        count = np.asarray(bins["count"], dtype=np.float64)
        gap = float(np.sum(count * np.abs(np.asarray(bins["confidence"]) - np.asarray(bins["accuracy"]))) / max(1.0, count.sum()))
        note = f"Confidence and accuracy are {percent(gap)} apart on average (expected calibration error, {len(count)} bins)."
        note += f" Faint: fewer than {FEWEST} samples." if ((count > 0) & (count < FEWEST)).any() else ""
        said.append(note)
    if not panels:
        return None
    title = "Classes and confidence" if len(panels) == 2 else "Per class" if legend else "Confidence"
    return Picture(name=f"quality-{slug}", title=title, alt=". ".join(said), note=note, panels=tuple(panels), legend=legend)


def reliability(record: Record) -> dict[str, Any] | None:
    """Mean confidence and accuracy in bins of equal width of the highest probability."""
    if not {"test/probability", "test/target", "test/prediction"} <= record.arrays.keys():
        return None
    probability, target = np.asarray(record.arrays["test/probability"]), np.asarray(record.arrays["test/target"])
    if probability.ndim != 2 or probability.shape[1] < 2 or target.ndim != 1 or len(target) != len(probability) or not len(target):
        return None
    confidence = probability.max(axis=1).astype(np.float64)
    known = np.isfinite(confidence)
    right = (np.asarray(record.arrays["test/prediction"]) == target)[known].astype(np.float64)
    confidence = np.clip(confidence[known], 0.0, 1.0)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums = (np.bincount(place, weights=w, minlength=BINS) / np.maximum(count, 1) for w in (confidence, right))
    mean, share = ([round(float(v), 4) for v in s] for s in sums)
    return {"confidence": mean, "accuracy": share, "count": [int(c) for c in count]}
