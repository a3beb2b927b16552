"""Tables of targets and predictions as arguments of an evaluation; columns found by name, or named by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.cli.arguments import UsageError
from diagnose.cli.table_files import READERS, Column, read_columns

MISSING = ("", "nan", "NaN", "None", "<NA>")
CLASSES = ("binary", "multiclass", "next-token")


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the columns of a table are called; ``probability``, ``lower`` and ``upper`` are how names begin."""

    target: str = "target"
    prediction: str = "prediction"
    probability: str = "prob_"
    id: str = "id"
    lower: str = "lower"
    upper: str = "upper"

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Names:
        """Names from the config.

        Raises:
            UsageError: A name is empty or no text.
        """
        for key, name in given.items():
            if key not in cls.__dataclass_fields__:
                raise UsageError(f"columns has no key {key!r}; it has {', '.join(cls.__dataclass_fields__)}")
            if not isinstance(name, str) or not name:
                raise UsageError(f"columns.{key} must be the name of a column, got {name!r}")
        return cls(**given)


def read_predictions(path: Path, names: Names | None = None, *, task: str | None = None) -> dict[str, Any]:
    """Read targets, predictions and what stands beside them from a table.

    Columns: ``target``; ``prediction`` or ``prob_<class>`` or both; for several labels ``target_<label>`` and so on; for values
    ``lower`` and ``upper``, or ``lower_90`` and ``upper_90`` for intervals that are meant to hold 90 % of the targets; ``id``. All other
    columns are metadata, by which weak parts are looked for.

    Args:
        path: A ``.csv``, ``.npz`` or ``.parquet`` file; an ``.npz`` may have ``probability`` of shape ``(n, C)``.
        names: What the columns are called.
        task: Whether numbers are classes or values; by default values where one of them has a fraction.

    Returns:
        Arguments of `diagnose.evaluation.evaluate_predictions`.

    Raises:
        UsageError: The file or a column is missing, or a column holds what it should not.
    """
    names = names or Names()
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    if path.suffix not in READERS:
        raise UsageError(f"predictions must be a file of one of {', '.join(READERS)}, got {path.name!r}")
    columns = read_columns(path, names.probability)
    for name, column in columns.items():
        if len(column.shape) != 1:
            raise UsageError(f"{path.name}: {name!r} must have one value per row, got the shape {column.shape}")
    label = f"{names.target}_"
    several = names.target not in columns and any(name.startswith(label) for name in columns)
    if names.target not in columns and not several:
        raise UsageError(
            f"{path.name} has no column {names.target!r}; it has {', '.join(columns) or 'none'}\nname it by columns.target=NAME"
        )
    rows = len(columns[next(n for n in columns if n.startswith(label))] if several else columns[names.target])
    if rows == 0:
        raise UsageError(f"{path.name} has no rows")
    for name, column in columns.items():
        if len(column) != rows:
            raise UsageError(f"{path.name}: {name!r} has {len(column)} rows, {names.target!r} has {rows}")
        if name.startswith((names.target, names.prediction)):
            bad = np.flatnonzero(np.isin(column.codes, [i for i, v in enumerate(column.values) if v.strip() in MISSING]))
            if len(bad):
                raise UsageError(f"{path.name}: {name!r} has no value in row {bad[0] + 1} ({len(bad)} such row{'s' * (len(bad) > 1)})")
    if several:
        return _labels(columns, names, path) | _beside(columns, names, path)
    scores = {name.removeprefix(names.probability): column for name, column in columns.items() if name.startswith(names.probability)}
    if names.prediction not in columns and not scores:
        raise UsageError(
            f"{path.name} has neither a column {names.prediction!r} nor columns '{names.probability}<class>'; it has {', '.join(columns)}"
        )
    beside = _beside(columns, names, path)
    numeric = {c: columns[c].number for c in (names.target, names.prediction) if c in columns}
    if task == "regression" or (task not in CLASSES and not scores and all(numeric.values()) and _is_fractional(columns, names)):
        return _values(columns, names, path) | beside
    if not scores and len(set(numeric.values())) > 1:
        kinds = {c: "numbers" if number else "names" for c, number in numeric.items()}
        example = {c: columns[c].values[0] for c in kinds}
        raise UsageError(
            f"{path.name}: {names.target!r} holds {kinds[names.target]} such as {example[names.target]!r}, {names.prediction!r} holds "
            f"{kinds[names.prediction]} such as {example[names.prediction]!r}: write both alike"
        )
    return _classes(columns, scores, names, path) | beside


def _values(columns: dict[str, Column], names: Names, path: Path) -> dict[str, Any]:
    """Target and prediction as numbers, and predicted intervals."""
    if names.prediction not in columns:
        raise UsageError(f"{path.name} has no column {names.prediction!r}, which the task regression needs; it has {', '.join(columns)}")
    for name in (names.target, names.prediction):
        if not columns[name].number:
            odd = next(v for v in columns[name].values if not Column.is_number(v))
            raise UsageError(f"{path.name}: {name!r} holds {odd!r}, which is no number, as the task regression needs")
    bounds: dict[str, Any] = {}
    for name, column in columns.items():
        rest = name.removeprefix(names.lower)
        other = columns.get(f"{names.upper}{rest}")
        if name.startswith(names.lower) and other is not None and column.number and other.number:
            level = rest.strip("_ ")
            if level and not (level.isdigit() and 0 < int(level) < 100):
                raise UsageError(f"{path.name}: {name!r} names no share in per cent, such as {names.lower}_90")
            bounds[f"{int(level) / 100:g}" if level else ""] = (column.numbers(), other.numbers())
    target, prediction = columns[names.target].numbers(), columns[names.prediction].numbers()
    for name, values in ((names.target, target), (names.prediction, prediction)):
        if len(rows := np.flatnonzero(~np.isfinite(values))):
            such = f"({len(rows)} such row{'s' * (len(rows) > 1)})"
            raise UsageError(
                f"{path.name}: {name!r} holds {values[rows[0]].item()!r} in row {rows[0] + 1}, expected a finite number {such}"
            )
    return {"target": target, "prediction": prediction, "probability": None, "class_names": None, "bounds": bounds, "task": "regression"}


def _classes(columns: dict[str, Column], scores: dict[str, Column], names: Names, path: Path) -> dict[str, Any]:
    text = {c: columns[c] for c in (names.target, names.prediction) if c in columns}
    found = {label for column in text.values() for label in column.labels}
    _check_labelled(text, names, path)
    classes = list(scores) or sorted(found, key=_order)
    position = {name: index for index, name in enumerate(classes)}
    for column, held in text.items():
        unknown = sorted(set(held.labels) - position.keys())
        if unknown:
            raise UsageError(f"{path.name}: column {column!r} holds {unknown[0]!r}, which is none of the classes {', '.join(classes[:10])}")
    probability = _probability(scores, names, path) if scores else None
    if probability is not None:
        off = np.flatnonzero(~((np.abs(probability.sum(1) - 1) < 0.01) & (probability.min(1) >= 0)))
        if len(off) and probability[off[0]].min() < 0:
            raise UsageError(f"{path.name}: row {off[0] + 1} holds the probability {probability[off[0]].min():.4g}, expected 0 to 1")
        if len(off):
            total = probability[off[0]].sum()
            such = f"({len(off)} such row{'s' * (len(off) > 1)})"
            if total != total:
                name = f"{names.probability}{classes[int(np.isnan(probability[off[0]]).argmax())]}"
                raise UsageError(f"{path.name}: {name!r} has no value, or NaN, in row {off[0] + 1} {such}")
            raise UsageError(f"{path.name}: the probabilities of row {off[0] + 1} sum to {total:.4g}, expected 1 {such}")
    if len(classes) < 2:
        raise UsageError(f"{path.name} holds one class, {str(classes[0])!r}: at least two are needed")
    target, prediction = (
        np.array([position[label] for label in text[c].labels], dtype=np.int64)[text[c].codes] if c in text else None
        for c in (names.target, names.prediction)
    )
    if prediction is None and probability is not None:
        prediction = probability.argmax(1)
    return {"target": target, "prediction": prediction, "probability": probability, "class_names": classes}


def _order(label: str) -> tuple[bool, int, str]:
    """Whole numbers by their size, then names."""
    whole = label.removeprefix("-").isdecimal()
    return not whole, int(label) if whole else 0, label


def _check_labelled(text: dict[str, Column], names: Names, path: Path) -> None:
    """Whether a negative number among class numbers is one that marks samples without a label."""
    target, predicted = text[names.target], text.get(names.prediction)
    kinds = [label for label in set(target.labels) if label.isdecimal()]
    for label in ("-1", "-100"):
        if label in target.labels and len(kinds) > 1 and label not in (predicted.labels if predicted is not None else ()):
            count = int(np.isin(target.codes, [i for i, own in enumerate(target.labels) if own == label]).sum())
            raise UsageError(
                f"{path.name}: {names.target!r} holds {label} in {count} of {len(target)} rows and nothing predicts it, as where it means "
                f"that there is no label\nleave these rows out; if it is a class, give it a name in place of {label}"
            )


def _probability(scores: dict[str, Column], names: Names, path: Path) -> NDArray[np.float32]:
    table = np.empty((len(next(iter(scores.values()))), len(scores)), dtype=np.float32)
    for place, name in enumerate(list(scores)):
        column = scores.pop(name)
        if not column.number:
            odd = next(v for v in column.values if not Column.is_number(v))
            raise UsageError(f"{path.name}: {names.probability + name!r} holds {odd!r}, expected probabilities")
        table[:, place] = column.numbers()
    return table


def _labels(columns: dict[str, Column], names: Names, path: Path) -> dict[str, Any]:
    """Several labels per sample: a column of 0 and 1 per label."""
    start = f"{names.target}_"
    labels = [name.removeprefix(start) for name in columns if name.startswith(start)]
    tables: dict[str, NDArray[Any] | None] = {}
    for part, prefix in (("target", start), ("prediction", f"{names.prediction}_"), ("probability", names.probability)):
        held = [label for label in labels if f"{prefix}{label}" in columns]
        if held and len(held) < len(labels):
            absent = next(label for label in labels if label not in held)
            raise UsageError(f"{path.name} has no column '{prefix}{absent}', as it has '{prefix}{held[0]}'")
        for label in held:
            if not columns[f"{prefix}{label}"].number:
                raise UsageError(f"{path.name}: '{prefix}{label}' holds {columns[f'{prefix}{label}'].values[0]!r}, expected numbers")
        tables[part] = np.stack([columns[f"{prefix}{label}"].numbers() for label in labels], 1) if held else None
    target, probability = tables["target"], tables["probability"]
    prediction = probability > 0.5 if probability is not None and tables["prediction"] is None else tables["prediction"]
    if target is None or prediction is None:
        raise UsageError(f"{path.name} has neither '{names.prediction}_{labels[0]}' nor '{names.probability}{labels[0]}'")
    for part, table in (("target", target), ("prediction", prediction)):
        if len(odd := np.argwhere(~np.isin(table, (0, 1)))):
            row, place = odd[0].tolist()
            raise UsageError(f"{path.name}: {part} of {labels[place]!r} in row {row + 1} must be 0 or 1, got {table[row, place].item()!r}")
    whole = {"target": target.astype(np.int64), "prediction": prediction.astype(np.int64)}
    return {**whole, "probability": probability, "class_names": labels, "task": "multilabel"}


def _beside(columns: dict[str, Column], names: Names, path: Path) -> dict[str, Any]:
    """Names of samples, and metadata: all columns that have no other use."""
    used = (names.target, names.prediction, names.id, names.lower, names.upper)
    several = () if names.target in columns else (f"{names.target}_", f"{names.prediction}_")
    found: dict[str, Any] = {"columns": {}}
    for name, column in columns.items():
        if name in used or name.startswith((names.probability, f"{names.lower}_", f"{names.upper}_", *several)):
            continue
        if column.number:
            found["columns"][name] = column.numbers()
        elif len(column.values) < len(column) / 2:  # else each row has a value of its own
            found["columns"][name] = column.text()
    if names.id in columns:
        found["ids"] = columns[names.id].text()
        if len(columns[names.id].values) < len(columns[names.id]):
            raise UsageError(f"{path.name}: {names.id!r} must name each row differently\nname another column by columns.id=NAME")
    return found


def _is_fractional(columns: dict[str, Column], names: Names) -> bool:
    return any(bool((columns[c].distinct() % 1 != 0).any()) for c in (names.target, names.prediction))
