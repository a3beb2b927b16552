"""Columns of CSV, NPZ and Parquet files, each as its distinct values and their places: a million labels need no million strings."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.cli.arguments import UsageError

READERS = (".csv", ".npz", ".parquet")
BLOCK = 20_000  # rows of a CSV file that stand in memory as text


class Column:
    """A column of a table.

    Args:
        values: Its distinct values as text, or the numbers of all rows.
        codes: Which of them each row has, shape ``(n,)``; ``None`` for numbers.
        shape: Of the array that it comes from.
    """

    def __init__(self, values: list[str] | NDArray[Any], codes: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
        self._numbers = values if isinstance(values, np.ndarray) else None
        self._values = values if isinstance(values, list) else None
        self._codes = codes
        self.shape = shape

    @classmethod
    def of(cls, array: NDArray[Any]) -> Column:
        """A column from an array of numbers or of text."""
        if array.ndim == 1 and (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
            return cls(array, None, array.shape)
        table: dict[str, int] = {}
        codes = [table.setdefault(str(value), len(table)) for value in array.reshape(-1).tolist()]
        return cls(list(table), np.array(codes, dtype=np.int32), array.shape)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    def _encode(self) -> None:
        assert self._numbers is not None
        distinct, place = np.unique(self._numbers, return_inverse=True)
        self._values, self._codes = [str(v) for v in distinct.tolist()], place.astype(np.int32)

    @property
    def values(self) -> list[str]:
        """Distinct values as text."""
        if self._values is None:
            self._encode()
        assert self._values is not None
        return self._values

    @property
    def codes(self) -> NDArray[Any]:
        """Which of the values each row has, shape ``(n,)``."""
        if self._codes is None:
            self._encode()
        assert self._codes is not None
        return self._codes

    @property
    def labels(self) -> list[str]:
        """The values as names of classes: ``1.0`` is ``1``."""
        return [v[:-2] if v.endswith(".0") and v[:-2].lstrip("-").isdigit() else v for v in self.values]

    @staticmethod
    def is_number(value: str) -> bool:
        """Whether a text is a number; an empty one stands for none that is known."""
        with suppress(ValueError):
            float(value or "nan")
            return True
        return False

    @property
    def number(self) -> bool:
        return self._numbers is not None or all(map(self.is_number, self.values))

    def distinct(self) -> NDArray[np.float64]:
        """The distinct values as numbers."""
        return np.array([float(v or "nan") for v in self.values])

    def numbers(self) -> NDArray[Any]:
        """The rows as numbers, shape ``(n,)``.

        Raises:
            ValueError: A value is none.
        """
        return self._numbers if self._numbers is not None else self.distinct()[self.codes]

    def text(self) -> NDArray[np.str_]:
        """The rows as text, shape ``(n,)``."""
        rows: NDArray[np.str_] = np.array(self.values, dtype=np.str_)[self.codes]
        return rows


def read_columns(path: Path, probability: str) -> dict[str, Column]:
    """The columns of a file by name.

    Args:
        path: A file of one of `READERS`.
        probability: How the names of columns of probabilities begin.

    Raises:
        UsageError: The file cannot be read.
    """
    if path.suffix == ".csv":
        return _csv(path, probability)
    arrays = _npz(path, probability) if path.suffix == ".npz" else _parquet(path)
    return {name: Column.of(array) for name, array in arrays.items()}


def _csv(path: Path, probability: str) -> dict[str, Column]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise UsageError(f"{path.name} is empty")
            odd = next((sign for sign in ";\t" if len(header) == 1 and sign in header[0]), None)
            if odd is not None:
                raise UsageError(f"{path.name}: the columns are parted by {odd!r}, expected commas\nsave it with commas")
            twice = sorted({name for name in header if header.count(name) > 1})
            if twice:
                raise UsageError(f"{path.name} has two columns {twice[0]!r}")
            return _collected(header, _blocks(reader, len(header), path), probability)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path.name} cannot be read as UTF-8 text with commas: {error}") from error


def _blocks(reader: Any, width: int, path: Path) -> Iterator[list[list[str]]]:
    """Rows of a CSV file, some thousands at a time; empty lines are passed over."""
    while rows := list(islice(reader, BLOCK)):
        for place, row in enumerate(rows):
            if row and len(row) != width:
                line = reader.line_num - len(rows) + place + 1
                raise UsageError(f"{path.name}, line {line}: expected {width} cells, got {len(row)}")
        yield [row for row in rows if row]


def _collected(header: list[str], blocks: Iterator[list[list[str]]], probability: str) -> dict[str, Column]:
    tables: list[dict[str, int]] = [{} for _ in header]
    parts: list[list[NDArray[Any]]] = [[] for _ in header]
    scores = [name.startswith(probability) for name in header]
    for rows in blocks:
        for i, column in enumerate(zip(*rows, strict=True)):
            if scores[i]:
                try:
                    parts[i].append(np.array([float(v) for v in column], dtype=np.float32))
                    continue
                except ValueError:  # said with its value where the probabilities are put together
                    earlier = [str(v) for part in parts[i] for v in part.tolist()]
                    parts[i] = [np.array([tables[i].setdefault(v, len(tables[i])) for v in earlier], dtype=np.int32)]
                    scores[i] = False
            table = tables[i]
            parts[i].append(np.array([table.setdefault(v, len(table)) for v in column], dtype=np.int32))
    found: dict[str, Column] = {}
    for i, name in enumerate(header):
        whole = np.concatenate(parts[i]) if parts[i] else np.zeros(0, dtype=np.float32 if scores[i] else np.int32)
        parts[i] = []
        found[name] = Column(whole, None, whole.shape) if scores[i] else Column(list(tables[i]), whole, whole.shape)
    return found


def _npz(path: Path, probability: str) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path.name} is damaged or no .npz file: expected what numpy.savez writes")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, AttributeError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from error
    table = arrays.pop("probability", None)
    if table is not None:
        if table.ndim != 2:
            raise UsageError(f"{path.name}: 'probability' must have a row per sample and a column per class, got {table.shape}")
        arrays |= {f"{probability}{k}": table[:, k] for k in range(table.shape[1])}
    return arrays


def _parquet(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UsageError("reading Parquet needs pandas and pyarrow\npip install lightning-diagnose[pandas]") from error
    try:
        frame = pandas.read_parquet(path)
    except ImportError as error:
        raise UsageError(f"{path.name} cannot be read: pandas needs pyarrow for it\npip install lightning-diagnose[pandas]") from error
    except (ValueError, OSError) as error:
        raise UsageError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error
    return {str(name): frame[name].to_numpy() for name in frame.columns}
