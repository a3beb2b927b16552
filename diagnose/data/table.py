"""Any table as data: CSV or Parquet, one column to predict, the others as features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.data.parts import Parts, Samples

if TYPE_CHECKING:
    from pandas import DataFrame, Series

TASKS = ("auto", "classes", "values")
MOST_CLASSES = 20  # whole numbers with more different values are taken as values
MOST_CATEGORIES = 50


class Table(Parts):
    """A table with a target column; types are inferred, texts become one column per category, missing numbers the training median.

    Args:
        path: A ``.csv`` or ``.parquet`` file.
        target: The column to predict. Rows without it are left out.
        drop: Columns to leave out.
        task: ``classes``, ``values``, or ``auto``: values where the target has fractions or more than `MOST_CLASSES` whole numbers.
        options: As in `Parts`.

    Raises:
        ValueError: No such file or column, nothing to learn from, or a column of texts that has nearly as many values as rows.
    """

    def __init__(self, path: str | None, target: str | None, *, drop: Sequence[str] = (), task: str = "auto", **options: Any) -> None:
        super().__init__(read(path, target, drop, task), **options)


def read(path: str | None, target: str | None, drop: Sequence[str], task: str) -> Samples:
    """The samples of a table."""
    if not path or not Path(path).is_file():
        raise ValueError(f"data.path must name a .csv or .parquet file, there is no file {path!r}")
    if task not in TASKS:
        raise ValueError(f"data.task must be one of {', '.join(TASKS)}, got {task!r}")
    frame = _frame(Path(path))
    for key, name in [("target", target), *(("drop", name) for name in drop)]:
        if name not in frame.columns:
            close = get_close_matches(str(name), list(frame.columns), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(frame.columns[:10])}"
            raise ValueError(f"data.{key} must name a column of {Path(path).name}, got {name!r}{hint}")
    notes = []
    without = int(frame[target].isna().sum())
    if without:
        frame = frame[frame[target].notna()]
        notes.append(f"{without} rows without a value of {target!r} were left out.")
    if frame.empty:
        raise ValueError(f"the column {target!r} of {Path(path).name} has no value in any row")
    x, names, found = _features(frame.drop(columns=[target, *drop]), Path(path).name)
    return replace(_targets(frame[target], x, notes + found, task), feature_names=names)


def _frame(path: Path) -> DataFrame:
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ValueError("reading tables needs pandas: pip install lightning-diagnose[pandas]") from error
    try:
        frame = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path, skipinitialspace=True)
    except (ValueError, OSError, ImportError) as error:
        raise ValueError(f"{path.name} cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
    return frame.rename(columns=str)


def _features(frame: DataFrame, name: str) -> tuple[Any, list[str], list[str]]:
    """Columns of numbers with their names: numbers as they are, two-valued and text columns as one column per category; and notes."""
    from pandas import to_datetime
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    columns: list[Any] = []
    names: list[str] = []
    empty: list[str] = []
    notes: list[str] = []
    for column in frame.columns:
        values = frame[column]
        if values.isna().all():
            empty.append(column)
        elif is_datetime64_any_dtype(values):
            columns.append((to_datetime(values) - values.min()).dt.total_seconds().to_numpy(dtype=np.float64))
            names.append(f"{column} in s")
            notes.append(f"{column!r} holds times; they became seconds since the first.")
        elif is_numeric_dtype(values) and not is_bool_dtype(values):
            columns.append(values.to_numpy(dtype=np.float64, na_value=np.nan))
            names.append(column)
        else:
            texts = values.astype(object).where(values.notna(), None)
            kinds = sorted({str(v) for v in texts if v is not None})
            if len(kinds) > MOST_CATEGORIES:
                raise ValueError(
                    f"the column {column!r} of {name} holds {len(kinds)} different texts in {len(values)} rows, expected at most "
                    f"{MOST_CATEGORIES} categories; leave it out by data.drop=[{column}]"
                )
            shown = kinds[1:] if len(kinds) == 2 else kinds
            columns += [np.array([np.nan if v is None else float(str(v) == kind) for v in texts]) for kind in shown]
            names += [f"{column}={kind}" for kind in shown]
            notes.append(f"{column!r} holds {len(kinds)} categories; they became {len(shown)} columns of 0 and 1.")
    if empty:
        notes.append(f"Columns without any value were left out: {', '.join(empty)}.")
    if not columns:
        raise ValueError(f"{name} has no feature with a value besides the target; it has {len(frame.columns)} other columns")
    x = np.column_stack(columns)
    endless = np.isinf(x).sum()
    if endless:
        raise ValueError(f"{name} holds {endless} infinite numbers; mend them or leave their columns out by data.drop=[...]")
    return x.astype(np.float32), names, notes


def _targets(values: Series[Any], x: Any, notes: list[str], task: str) -> Samples:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    numbers = is_numeric_dtype(values) and not is_bool_dtype(values)
    if task == "auto":
        y = values.to_numpy(dtype=np.float64) if numbers else np.zeros(1)
        many = numbers and (bool((y % 1 != 0).any()) or len(np.unique(y)) > MOST_CLASSES)
        task = "values" if many else "classes"
        notes.append(f"The target {values.name!r} was taken as {task}.")
    if task == "values":
        if not numbers:
            raise ValueError(f"data.task=values needs numbers in the column {values.name!r}, got {values.iloc[0]!r}")
        return Samples(x=x, y=values.to_numpy(dtype=np.float32)[:, None], task="values", notes=notes)
    kinds = sorted(values.unique())
    if len(kinds) < 2:
        raise ValueError(f"the target {values.name!r} has one class, {kinds[0]!r}, in {len(values)} rows: at least two are needed")
    position = {kind: index for index, kind in enumerate(kinds)}
    names = [str(int(k)) if numbers and float(k).is_integer() else str(k) for k in kinds]
    return Samples(x=x, y=np.array([position[v] for v in values], dtype=np.int64), class_names=names, notes=notes)
