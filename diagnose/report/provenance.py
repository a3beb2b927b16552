"""Where the numbers come from: the run, its code, versions, config and data, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diagnose.record import Record
from diagnose.report.values import Cell, Section, Table

FIRST = ("command", "seed", "git", "checkpoint", "checkpoint_sha256", "predictions", "predictions_sha256", "epochs_done", "max_epochs",
         "steps_done", "max_steps", "stopped", "interrupted")  # fmt: skip
WORDS = {
    "git": "git commit", "checkpoint_sha256": "SHA-256 of the checkpoint", "predictions_sha256": "SHA-256 of the predictions",
    "epochs_done": "epochs trained", "max_epochs": "epochs at most", "steps_done": "optimizer steps",
    "max_steps": "optimizer steps at most", "stopped": "stopped early", "accumulate": "batches per optimizer step",
    "clip_val": "gradients clipped at", "clip_algorithm": "gradients clipped by", "validates": "validates while training",
    "finished": "came to its end", "world_size": "processes", "validations_done": "validations", "optimizers": "optimizer",
    "schedulers": "schedule", "lr": "learning rate", "kind": "task", "extracted_by": "predictions and targets from",
}  # fmt: skip
FIELD = ("mean", "std", "min", "max")
ODD = ("nan", "posinf", "neginf")


def provenance_section(record: Record) -> Section | None:
    """What one needs to make the run again; ``None`` for an empty record."""
    run = dict(record.facts.get("run") or {})
    versions = run.pop("versions", None) or {}
    known = {k: run.pop(k) for k in FIRST if k in run} | run
    task = record.facts.get("task") or {}
    tables = [
        pairs("run", "Run", ("what", "value"), run_rows(known)),
        pairs("versions", "Versions", ("package", "version"), flatten(versions)),
        data_table(record),
        pairs("config", "Config", ("key", "value"), flatten(record.facts.get("config") or {}), folded=True),
        pairs("task", "Task", ("what", "value"), ((word(k), v) for k, v in flatten(task) if v not in (None, "")), folded=True),
        pairs("code", "Code", ("what", "where"), flatten(record.facts.get("source") or {}), folded=True),
        pairs("missing", "Not measured", ("what", "why"), ((unmeasured(k), v) for k, v in sorted(record.missing.items())), folded=True),
        fields_table(record),
    ]
    kept = tuple(t for t in tables if t.rows)
    return Section(name="provenance", title="Provenance", tables=kept) if kept else None


def word(key: str) -> str:
    """A key of the record in words."""
    return WORDS.get(key, key.replace("_", " "))


def unmeasured(name: str) -> str:
    """The name of a measurement in words.

    >>> unmeasured("probe.initial_loss"), unmeasured("scaler/skipped")
    ('initial loss', 'scaler: skipped')
    """
    return name.removeprefix("probe.").replace("_", " ").replace("/", ": ").replace(".", ": ")


def run_rows(run: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    """What is known of a run; an optimizer or a schedule is one row."""
    for key, value in run.items():
        if value in (None, "", [], ()):
            continue
        if key == "git" and isinstance(value, Mapping):
            change = {True: ", with uncommitted changes", None: ", whether files were changed is not known"}
            yield word(key), f"{value.get('commit')}{change.get(value.get('changed'), '')}"
        elif isinstance(value, (list, tuple)) and all(isinstance(v, Mapping) for v in value):
            for number, entry in enumerate(value):
                yield f"{word(key)} {number + 1}" if len(value) > 1 else word(key), settings(entry)
        else:
            yield from ((word(k), v) for k, v in flatten(value, key) if v not in (None, ""))


def settings(entry: Mapping[str, Any]) -> str:
    """A thing with its settings in a line.

    >>> settings({"name": "AdamW", "lr": 0.003, "betas": [0.9, 0.999], "clips": None})
    'AdamW, learning rate 0.003, betas (0.9, 0.999)'
    """
    said = [str(entry["name"])] if entry.get("name") else []
    for key, value in entry.items():
        if key != "name" and value not in (None, ""):
            shown = ", ".join(text(v) for _, v in flatten(value))
            said.append(f"{word(key)} ({shown})" if isinstance(value, (Mapping, list, tuple)) else f"{word(key)} {shown}")
    return ", ".join(said)


def data_table(record: Record) -> Table:
    """The samples of each loader and each evaluated part, and what tells them from others."""
    marks = record.facts.get("fingerprints") or {}
    rows: list[tuple[Cell, ...]] = []
    for name, loader in (record.facts.get("data") or {}).items():
        if isinstance(loader, Mapping):
            read, total = loader.get("samples"), loader.get("total")
            part = marks.get(str(name).split("/")[0])
            rows.append((str(name), total or read, loader.get("batch_size"), loader.get("order"), part, part and "inputs, targets"))
    for name, entry in (record.facts.get("evaluation") or {}).items():
        if isinstance(entry, Mapping) and entry.get("n") and (marks.get(name) or entry.get("fingerprint")):
            mark = (marks[name], "inputs, targets") if marks.get(name) else (entry["fingerprint"], "targets")
            rows.append((f"{name}, evaluated", entry["n"], None, None, *mark))
    return Table(
        name="data",
        title="Data",
        columns=("part", "samples", "batch size", "order", "fingerprint", "of"),
        formats=("text", "count", "count", "text", "text", "text"),
        rows=tuple(tuple(None if cell == "" else cell for cell in row) for row in rows),
        note="Equal fingerprints: the same samples in the same order." if any(row[-1] for row in rows) else "",
    )


def fields_table(record: Record) -> Table:
    """What the batches of each loader hold."""
    rows: list[tuple[Cell, ...]] = []
    for name, loader in (record.facts.get("data") or {}).items():
        fields = loader.get("fields") if isinstance(loader, Mapping) else None
        for path, field in fields.items() if isinstance(fields, Mapping) else ():
            if isinstance(field, Mapping):
                shape = " × ".join(str(side) for side in field.get("shape") or ())
                odd = sum(int(field.get(k) or 0) for k in ODD)
                role = "target" if path == loader.get("target") else "input" if path in (loader.get("inputs") or ()) else ""
                kind = f"{field.get('dtype', '')} {shape}".strip()
                rows.append((str(name), str(path), role, kind, *(field.get(k) for k in FIELD), odd))
    return Table(
        name="fields",
        title="What the batches hold",
        columns=("part", "field", "used as", "type and shape", "mean", "deviation", "smallest", "largest", "NaN or infinite"),
        formats=("text", "text", "text", "text", *("number",) * 4, "count"),
        rows=tuple(rows),
        folded=True,
    )


def pairs(name: str, title: str, columns: tuple[str, str], rows: Iterable[tuple[str, Cell]], *, folded: bool = False) -> Table:
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
