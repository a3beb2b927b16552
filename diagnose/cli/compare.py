"""Two runs against each other, for ``report RUN_A RUN_B`` and for ``evaluate`` of two checkpoints or two tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.job import USAGE_ERROR, severity
from diagnose.cli.runs import Unwritten
from diagnose.record import Record
from diagnose.values import Diagnosis, Severity, Status

FOLDER = "comparison"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """When a comparison fails.

    Attributes:
        fail_on: ``worse``: the second run is worse in the metric to judge by; or the severity from which a finding fails.
        margin: How much worse is not worse yet.
    """

    fail_on: str = "worse"
    margin: float = 0.0

    def fails(self, diagnosis: Diagnosis) -> bool:
        return bool(diagnosis.at_or_above(self.severity))

    @property
    def severity(self) -> Severity:
        return Severity.ERROR if self.fail_on == "worse" else severity(self.fail_on)


def terms(words: list[str]) -> tuple[Terms, list[str]]:
    """The terms that the words set, and the other words.

    Raises:
        UsageError: A value is none that can be.
    """
    found, rest = Terms(), []
    for word in words:
        key, _, value = word.partition("=")
        if key == "fail_on":
            if value not in ("worse", *Severity):
                raise UsageError(f"fail_on must be worse, or one of {', '.join(s.value for s in Severity)}, got {value!r}")
            found = replace(found, fail_on=value)
        elif key == "margin":
            try:
                found = replace(found, margin=float(value))
            except ValueError as error:
                raise UsageError(f"margin must be a number, such as 0.01; got {value!r}") from error
            if not 0 <= found.margin < float("inf"):
                raise UsageError(f"margin must be at least 0, got {value!r}")
        else:
            rest.append(word)
    return found, rest


def read(folder: Path) -> Record:
    """The record of a run.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    try:
        return Record.read(folder / "record")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{str(folder)!r} is no run: {error}") from error
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error


def compare_runs(folders: tuple[Path, Path], chosen: Terms, arguments: Arguments, names: tuple[str, str] | None = None) -> int:
    """Compare two runs, write the report into the folder of the second, print the summary.

    Returns:
        0; 1 where the second is worse; 2 where nothing could be compared: what did not run has not passed.
    """
    from diagnose.comparison import compare, judge
    from diagnose.report import write_report
    from diagnose.report.comparison import build_comparison
    from diagnose.report.terminal import print_summary

    console = Console(stderr=arguments.json, highlight=False)
    records = (read(folders[0]), read(folders[1]))
    comparison = compare(*records, names=names or own_names(records) or labels(folders))
    diagnosis = judge(comparison, margin=chosen.margin)
    report = build_comparison(comparison, diagnosis, records, created=datetime.now().isoformat(sep=" ", timespec="minutes"))
    folder = folders[1] / FOLDER
    try:
        paths = write_report(report, folder, fail_on=chosen.severity.value)
    except OSError as error:
        raise Unwritten(f"{error}\nboth runs are kept; try again by: python -m diagnose report {folders[0]} {folders[1]}") from error
    compared = any(outcome.status is not Status.NOT_RUN for outcome in diagnosis.outcomes)
    status = int(chosen.fails(diagnosis)) if compared else USAGE_ERROR
    print_summary(report, console)
    console.print(str(paths["html"].absolute()), markup=False, soft_wrap=True)
    if arguments.json:
        print(json.dumps(document(status, folder, comparison, diagnosis), indent=1, allow_nan=False))
    return status


def document(status: int, folder: Path, comparison: dict[str, Any], diagnosis: Diagnosis) -> dict[str, Any]:
    """As ``--json`` prints it."""
    where = {"folder": str(folder.absolute()), "report": str(folder.absolute() / "report.html")}
    return {"status": status, **where, "comparison": comparison, **diagnosis.to_dict()}


def own_names(records: tuple[Record, Record]) -> tuple[str, str] | None:
    """What two runs are about, ``mlp on digits`` or ``predictions.csv``, where that tells them apart."""
    from diagnose.report.build import name_of

    one, other = (name_of(record) for record in records)
    return (one, other) if one != other else None


def labels(places: tuple[Path, Path]) -> tuple[str, str]:
    """What two places are called: the last part of their paths in which they differ."""
    parts = [list(place.resolve().parts) for place in places]
    while len(parts[0]) > 1 and len(parts[1]) > 1 and parts[0][-1] == parts[1][-1]:
        parts = [own[:-1] for own in parts]
    one, other = (own[-1] for own in parts)
    return (one, other) if one != other else ("first", "second")


def pair(words: list[str]) -> tuple[str, tuple[str, str], list[str]] | None:
    """The key, the two values and the other words of ``ckpt_path=[a,b]`` or ``predictions=[a,b]``; ``None`` without one.

    Raises:
        UsageError: There are not two values, or both keys name two.
    """
    found = [word for word in words if word.lstrip("+").startswith(("ckpt_path=[", "predictions=[")) and word.endswith("]")]
    if not found:
        return None
    key, _, value = found[0].lstrip("+").partition("=")
    values = [part.strip().strip("'\"") for part in value[1:-1].split(",")]
    if len(found) > 1 or len(values) != 2 or not all(values):
        raise UsageError(f"two files are compared with each other: {key}=[A,B]; got {' '.join(found)}")
    return key, (values[0], values[1]), [word for word in words if word not in found]
