"""A run as plain numbers: facts, series and arrays; written as the run grows, read back equal."""

from __future__ import annotations

import itertools
import json
import math
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from diagnose.encoding import decode, encode, encode_entry, until

SCHEMA = 2
EVENTS = "events.jsonl"

Number = float | int | None
Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One quantity over a run.

    Attributes:
        step: Optimizer step of each row, shape ``(n,)``.
        epoch: Epoch of each row, shape ``(n,)``.
        batch: Training batches seen since the start of the run, shape ``(n,)``.
        value: The quantity, shape ``(n,)``, or ``(n, k)`` with one column per label.
        labels: Names of the ``k`` columns (layers, parameter groups), or ``()``.
    """

    step: NDArray[np.int64]
    epoch: NDArray[np.int64]
    batch: NDArray[np.int64]
    value: NDArray[np.float64]
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.step)

    def column(self, label: str) -> NDArray[np.float64]:
        """The values of one column, shape ``(n,)``."""
        return self.value[:, self.labels.index(label)]


@dataclass(slots=True, eq=False)
class Rows:
    """The rows of a series while it grows, as bare numbers: objects would take five times their memory.

    Attributes:
        places: Step, epoch and batch of each row, one after the other.
        values: The numbers of all rows.
        widths: How many of them each row has; -1 for a row that is no vector.
    """

    places: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    widths: array[int] = field(default_factory=lambda: array("q"))

    def append(self, place: Place, value: Number | Sequence[Number]) -> None:
        """Add a row; ``None`` becomes NaN."""
        self.places.extend(place)
        if isinstance(value, float):  # nearly all of them
            self.values.append(value)
            self.widths.append(-1)
            return
        entries = value if isinstance(value, Sequence) else (value,)
        numbers = array("d", [math.nan if v is None else v for v in entries])
        self.values.extend(numbers)
        self.widths.append(len(numbers) if entries is value else -1)

    def table(self, labels: int) -> NDArray[np.float64]:
        """The values, shape ``(n,)``, or ``(n, k)`` with NaN where an earlier row has fewer, as layers were found later."""
        widths, values = np.array(self.widths), np.array(self.values)
        if widths.max() < 0:
            return values
        table = np.full((len(widths), labels or int(widths.max())), math.nan)
        table[np.arange(table.shape[1]) < widths[:, None]] = values
        return table


class Record:
    """What was measured in one run.

    *Facts* are JSON values under a name (``"data"``, ``"probe.overfit"``); *series* grow row by row; *arrays* hold predictions and
    embeddings. What could not be measured is kept with the reason, so that a rule that did not run can say why.

    Args:
        path: Folder to write to while the record grows (each event is one flushed line, so that a killed run keeps what it had);
            ``None`` keeps it in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.labels: dict[str, tuple[str, ...]] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self._rows: dict[str, Rows] = {}
        self._series: dict[str, Series] = {}
        self._file: IO[str] | None = None
        self._earlier = 0
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
            self._earlier = (path / EVENTS).stat().st_size if (path / EVENTS).is_file() else 0
            self._file = (path / EVENTS).open("a", encoding="utf-8")
            weakref.finalize(self, _close, self._file)  # nobody has to: callbacks keep a record open after their fit, for what comes later
            self._write({"schema": SCHEMA})

    def add(self, name: str, value: Any) -> None:
        """Set a fact; a later value replaces an earlier one.

        Raises:
            TypeError: The value is not made of dicts, lists, strings, numbers, booleans and ``None``.
        """
        line = json.dumps({"fact": name, "value": encode(value)})  # before it is kept: a value that cannot be written is refused whole
        self.facts[name] = value
        self.missing.pop(name, None)
        self._write_line(line)

    def skip(self, name: str, reason: str) -> None:
        """Say why a fact, series or array could not be measured."""
        self.missing[name] = reason
        self._write({"missing": name, "reason": reason})

    def label(self, name: str, labels: Sequence[str]) -> None:
        """Name the columns of a vector series; to be called before its first row."""
        self.labels[name] = tuple(labels)
        self._write({"labels": name, "names": list(labels)})

    def append(self, values: Mapping[str, Number | Sequence[Number]], *, step: int, epoch: int = 0, batch: int | None = None) -> None:
        """Add one row to each of the named series.

        Args:
            values: A number per scalar series, a list per vector series; ``None`` stands for "not measured" and reads back as NaN.
            step: Optimizer steps taken so far.
            epoch: Epoch, counted from 0.
            batch: Training batches seen so far; ``step`` where it is not given.
        """
        self.extend([((step, epoch, step if batch is None else batch), values)])

    def extend(self, rows: Iterable[tuple[Place, Mapping[str, Number | Sequence[Number]]]]) -> None:
        """Add rows as `append` does, all in one write: step, epoch and batch of each, and its values."""
        lines = []
        for place, values in rows:
            for name, value in values.items():
                series = self._rows.get(name) or Rows()
                series.append(place, value)
                self._rows[name] = series
            if self._file is not None:
                lines.append(
                    json.dumps({"at": place, "row": {name: encode_entry(value) for name, value in values.items()}}, separators=(",", ":"))
                )
        if lines:
            self._write_line("\n".join(lines))

    def save_array(self, name: str, array: NDArray[Any]) -> None:
        """Keep an array (predictions, an embedding) under a name; on disk it is one ``.npy`` file."""
        self.arrays[name] = array
        if self.path is not None:
            target = self.path / "arrays" / f"{name.replace('/', '@')}.npy"
            target.parent.mkdir(exist_ok=True)
            partial = target.with_suffix(".part")
            with partial.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            partial.replace(target)

    def series(self, name: str) -> Series:
        """The rows of one series so far; its arrays cannot be written to.

        Raises:
            KeyError: Nothing was recorded under this name.
        """
        if name not in self._rows:
            raise KeyError(f"no series {name!r} in this record; there are {', '.join(sorted(self._rows)) or 'none'}")
        rows = self._rows[name]
        known = self._series.get(name)
        labels = self.labels.get(name, ())
        if known is not None and len(known) == len(rows.widths) and known.labels == labels:
            return known
        place, value = np.array(rows.places).reshape(-1, 3).T, rows.table(len(labels))
        value.flags.writeable = place.flags.writeable = False
        made = Series(step=place[0], epoch=place[1], batch=place[2], value=value, labels=labels)
        self._series[name] = made
        return made

    def names(self) -> Iterator[str]:
        """Names of all series."""
        return iter(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self.facts or name in self._rows or name in self.arrays

    def override(self, concept: str, value: object) -> str:
        """The Hydra override that sets ``concept`` to ``value``, or ``""`` when the run did not come from our config.

        Fact ``config_keys`` maps concepts (``"learning_rate"``, ``"gradient_clip_val"``, ``"batch_size"`` ...) to keys of the run's config.
        """
        key = self.facts.get("config_keys", {}).get(concept, "")
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        return f"{key}={text}" if key else ""

    def source(self, concept: str) -> str:
        """The user's own place for ``concept``, such as ``"model.py:31"`` for ``"training_step"``, or ``""``."""
        return str(self.facts.get("source", {}).get(concept, ""))

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def part(self, after: int | None = None) -> None:
        """Part the record from what an earlier run left in the same folder.

        Args:
            after: The batch after which the earlier run is gone on with: what it wrote later is cut off, which happened to weights that are
                no more. Without it this run is another one, and the file of the earlier one is put aside as ``events-1.jsonl`` (2, 3 ...).
        """
        if self.path is None or self._file is None or not self._earlier:
            return
        file, length = self.path / EVENTS, self._earlier
        self._earlier = 0
        content = file.read_bytes()
        if after is None:
            numbers = (n for n in itertools.count(1) if not file.with_stem(f"{file.stem}-{n}").exists())
            file.with_stem(f"{file.stem}-{next(numbers)}").write_bytes(content[:length])
        with file.open("r+b") as same:  # other records of this process may append to it
            same.write((b"" if after is None else until(content[:length], after)) + content[length:])
            same.truncate()

    def _write(self, event: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._write_line(json.dumps(event))

    def _write_line(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record back, also one whose last line was cut off.

        Raises:
            FileNotFoundError: There is no record at ``path``.
            ValueError: The record has a newer schema, or a line other than the last is damaged.
        """
        file = path / EVENTS
        if not file.is_file():
            raise FileNotFoundError(f"no record at {path}: expected the file {EVENTS} that a run writes")
        record = cls()
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                event = decode(json.loads(line))
            except ValueError as error:
                if number == len(lines):
                    break
                raise ValueError(f"line {number} of {file} is damaged: {error}") from error
            record._take(event, file)
        for kept in sorted(path.glob("arrays/*.npy")):
            record.arrays[kept.stem.replace("@", "/")] = np.load(kept, allow_pickle=False)
        return record

    def _take(self, event: dict[str, Any], file: Path) -> None:
        if "row" in event:
            step, epoch, batch = event["at"]
            self.append(event["row"], step=step, epoch=epoch, batch=batch)
        elif "fact" in event:
            self.facts[event["fact"]] = event["value"]
            self.missing.pop(event["fact"], None)
        elif "missing" in event:
            self.missing[event["missing"]] = event["reason"]
        elif "labels" in event:
            self.labels[event["labels"]] = tuple(event["names"])
        elif event.get("schema", SCHEMA) > SCHEMA:
            raise ValueError(f"{file} has schema {event['schema']}, this version reads up to {SCHEMA}: update lightning-diagnose")


def _close(file: IO[str]) -> None:
    with suppress(OSError):
        file.close()
