"""Tables of targets and predictions: CSV, NPZ, Parquet; columns found by name."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.cli.arguments import UsageError

MISSING = ("", "nan", "NaN", "None", "<NA>")
READERS = (".csv", ".npz", ".parquet")


def read_predictions(path: Path) -> dict[str, Any]:
    """Read ``target``, ``prediction`` and ``prob_<class>`` from a table.

    Returns:
        Arguments of `diagnose.evaluation.evaluate_predictions`: ``target`` and ``prediction`` as class indices of shape ``(n,)`` (or
        values, for regression), ``probability`` of shape ``(n, C)`` or ``None``, ``class_names`` or ``None``.

    Raises:
        UsageError: The file or a column is missing, or a column holds what it should not.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    if path.suffix not in READERS:
        raise UsageError(f"predictions must be a file of one of {', '.join(READERS)}, got {path.name!r}")
    columns = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}[path.suffix](path)
    for name, values in columns.items():
        if values.ndim != 1:
            raise UsageError(f"{path.name}: {name!r} must have one value per row, got the shape {values.shape}")
    if "target" not in columns:
        raise UsageError(f"{path.name} has no column 'target'; it has {', '.join(columns) or 'none'}")
    rows = len(columns["target"])
    if rows == 0:
        raise UsageError(f"{path.name} has no rows")
    for name, values in columns.items():
        if len(values) != rows:
            raise UsageError(f"{path.name}: {name!r} has {len(values)} rows, 'target' has {rows}")
        if name in ("target", "prediction") and len(empty := np.flatnonzero([str(v).strip() in MISSING for v in values])):
            raise UsageError(f"{path.name}: {name!r} has no value in row {empty[0] + 1} ({len(empty)} such rows)")
    scores = {name.removeprefix("prob_"): values for name, values in columns.items() if name.startswith("prob_")}
    if "prediction" not in columns and not scores:
        raise UsageError(f"{path.name} has neither a column 'prediction' nor columns 'prob_<class>'; it has {', '.join(columns)}")
    if not scores and all(_is_number(columns[c]) for c in ("target", "prediction")) and _is_fractional(columns):
        return {
            "target": columns["target"].astype(float),
            "prediction": columns["prediction"].astype(float),
            "probability": None,
            "class_names": None,
        }
    return _classes(columns, scores, path)


def _classes(columns: dict[str, NDArray[Any]], scores: dict[str, NDArray[Any]], path: Path) -> dict[str, Any]:
    text = {c: np.array([_label(v) for v in columns[c]]) for c in ("target", "prediction") if c in columns}
    names = list(scores) or sorted({*text["target"], *text["prediction"]}, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n))
    position = {name: index for index, name in enumerate(names)}
    for column, values in text.items():
        unknown = sorted({v for v in values if v not in position})
        if unknown:
            raise UsageError(
                f"{path.name}: column {column!r} holds {str(unknown[0])!r}, which is none of the classes {', '.join(names[:10])}"
            )
    probability = None
    if scores:
        try:
            probability = np.stack([values.astype(np.float32) for values in scores.values()], 1)
        except ValueError as error:
            raise UsageError(f"{path.name}: a column of probabilities holds something else: {error}") from error
        off = np.flatnonzero(~(np.abs(probability.sum(1) - 1) < 0.01))
        if len(off):
            total = probability[off[0]].sum()
            raise UsageError(f"{path.name}: the probabilities of row {off[0] + 1} sum to {total:.4g}, expected 1 ({len(off)} such rows)")
    if len(names) < 2:
        raise UsageError(f"{path.name} holds one class, {str(names[0])!r}: at least two are needed")
    target = np.array([position[v] for v in text["target"]])
    prediction = np.array([position[v] for v in text["prediction"]]) if "prediction" in text else probability.argmax(1)  # type: ignore[union-attr]
    return {"target": target, "prediction": prediction, "probability": probability, "class_names": names}


def _label(value: Any) -> str:
    text = str(value)
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text


def _is_number(values: NDArray[Any]) -> bool:
    try:
        values.astype(float)
    except ValueError:
        return False
    return True


def _is_fractional(columns: dict[str, NDArray[Any]]) -> bool:
    return any(bool((columns[c].astype(float) % 1 != 0).any()) for c in ("target", "prediction"))


def _csv(path: Path) -> dict[str, NDArray[Any]]:
    rows: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise UsageError(f"{path.name} is empty")
            for row in reader:
                if row and len(row) != len(header):
                    raise UsageError(f"{path.name}, line {reader.line_num}: expected {len(header)} cells, got {len(row)}")
                rows += [row] if row else []
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path.name} cannot be read as UTF-8 text with commas: {error}") from error
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UsageError(f"{path.name} has two columns {twice[0]!r}")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(header)}


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from error
    probability = arrays.pop("probability", None)
    if probability is not None:
        if probability.ndim != 2:
            raise UsageError(f"{path.name}: 'probability' must have a row per sample and a column per class, got {probability.shape}")
        arrays |= {f"prob_{k}": probability[:, k] for k in range(probability.shape[1])}
    return arrays


def _parquet(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UsageError("reading Parquet needs pandas and pyarrow\npip install pandas pyarrow") from error
    try:
        frame = pandas.read_parquet(path)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error
    return {str(name): frame[name].to_numpy() for name in frame.columns}
