"""Where the numbers come from: the run, its versions, its config, its data, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnose.record import Record
from diagnose.report.values import Cell, Section, Table

FIRST = ("command", "seed", "checkpoint", "epochs_done", "max_epochs", "steps_done", "max_steps", "stopped", "interrupted")


def provenance_section(record: Record) -> Section | None:
    """What one needs to make the run again; ``None`` for an empty record."""
    run = dict(record.facts.get("run") or {})
    versions = run.pop("versions", None) or {}
    known = {k: run.pop(k) for k in FIRST if k in run} | run
    ordered = {k: v for k, v in known.items() if v not in (None, "")}
    tables = [
        pairs("run", "Run", ("what", "value"), flatten({**ordered, **(record.facts.get("source") or {})})),
        pairs("versions", "Versions", ("package", "version"), flatten(versions)),
        pairs("config", "Config", ("key", "value"), flatten(record.facts.get("config") or {}), folded=True),
        *(
            pairs(name, title, ("what", "value"), flatten(record.facts.get(name) or {}), folded=True)
            for name, title in (("data", "Data"), ("task", "Task"))
        ),
        pairs("missing", "Not measured", ("what", "why"), sorted(record.missing.items()), folded=True),
    ]
    kept = tuple(t for t in tables if t.rows)
    return Section(name="provenance", title="Provenance", tables=kept) if kept else None


def pairs(
    name: str, title: str, columns: tuple[str, str], rows: Sequence[tuple[str, Cell]] | Iterator[tuple[str, Cell]], *, folded: bool = False
) -> Table:
    return Table(
        name=name, title=title, columns=columns, formats=("text", "text"), rows=tuple((k, text(v)) for k, v in rows), folded=folded
    )


def text(value: Cell) -> str:
    """A value as one writes it in a config, with the home folder as ``~``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    home = str(Path.home())
    said = f"{value:.6g}" if isinstance(value, float) else str(value)
    return said.replace(home, "~") if len(home) > 1 else said


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Cell]]:
    """Nested mappings as dotted keys; short lists stay in one cell.

    >>> list(flatten({"a": {"b": 1, "c": [1, 2]}}))
    [('a.b', 1), ('a.c', '1, 2')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)):
        if any(isinstance(v, (Mapping, list, tuple)) for v in value):
            for index, inner in enumerate(value[:50]):
                yield from flatten(inner, f"{prefix}.{index}")
        else:
            more = f", … ({len(value)} in all)" if len(value) > 32 else ""
            yield prefix, ", ".join(text(v) for v in value[:32]) + more
    else:
        yield prefix, value
