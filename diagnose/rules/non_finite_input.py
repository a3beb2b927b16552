"""Rule D101."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class NonFiniteInput(Rule):
    """NaN or infinity stands in the inputs or targets that the loaders give.

    ## What it measures
    The values of every field of the batches that were read (training first, then each validation loader) that are not finite: how many,
    in how many rows, in which columns, and where the first one stands. More than `count` of them are a finding.

    ## Why it matters
    One NaN in a batch makes the loss, every gradient and, after the step, every weight NaN: the run is lost within the first epoch. An
    infinite target does the same.

    ## When it is wrong
    A field whose only such values are -inf, and 0 otherwise, is an attention mask. Targets that are NaN where nothing was measured, and
    that the step masks out, are fine: where the loss of a batch that holds such values came out finite, or where nothing shows that the
    field reaches the loss, the finding is only `info`. Values in rows that were not read are not seen.

    ## What to try
    Find the blanks at their origin (a join, a division by zero, log(0), an empty cell); impute or drop them before the tensors are made.
    Use log1p for counts, and assert torch.isfinite(x).all() where the data set is built.

    ## References
    Schoop et al., UMLAUT (CHI 2021), and the package torcheck: NaN checks of the inputs.
    """

    code = "D101"
    name = "non-finite-input"
    severity = Severity.ERROR
    needs = ("data",)
    explains = (
        "non-finite",
        "initial-loss",
        "exploding-gradient",
        "diverging-loss",
        "cannot-overfit-batch",
        "prediction-collapse",
        "input-independent",
        "sample-leakage",
        "misaligned-labels",
        "split-shift",
        "dead-units",
    )

    count: int = 0

    def judge(self, record: Record) -> Iterator[Finding]:
        seen: set[str] = set()
        for loader, facts in record.facts["data"].items():
            for path, field in facts["fields"].items():
                bad = field["nan"] + field["posinf"] + field["neginf"]
                if bad <= self.count or path in seen or _mask(field):
                    continue
                seen.add(path)
                yield self.finding(
                    f"{path} of the {_loader(loader)} holds {_counts(field)} in {field['bad_rows']} of the {facts['samples']} rows read"
                    f"{_columns(field)}",
                    where=_place(loader, path, field),
                    fix=f"drop or impute these values before they reach {path}; see how they come about (empty cells, 0/0, log(0))",
                    severity=self.severity if _reaches_loss(facts, path) else Severity.INFO,
                    nan=field["nan"],
                    inf=field["posinf"] + field["neginf"],
                    rows=field["bad_rows"],
                    read=facts["samples"],
                )


def _mask(field: Mapping[str, Any]) -> bool:
    zeros = field.get("min", 0.0) == field.get("max", 0.0) == 0.0
    return bool(zeros and field["neginf"] > 0 and field["nan"] == field["posinf"] == 0)


def _reaches_loss(facts: Mapping[str, Any], path: str) -> bool:
    if (facts["loss"] or {}).get("nonfinite_handled"):
        return False
    told = facts["target"] is not None and "target" not in facts["guessed"]
    return bool(path == facts["target"]) or (path in facts["inputs"] and (told or path == facts["inputs"][0]))


def _loader(name: str) -> str:
    return "training loader" if name == "train" else f"validation loader {name.removeprefix('val/')}"


def _counts(field: Mapping[str, Any]) -> str:
    parts = {"NaN": field["nan"], "inf": field["posinf"], "-inf": field["neginf"]}
    return " and ".join(f"{n} {name}" for name, n in parts.items() if n)


def _columns(field: Mapping[str, Any]) -> str:
    columns = field["bad_columns"]
    return (
        f" (column{'s' if len(columns) > 1 else ''} {', '.join(map(str, columns))}{' …' if len(columns) == 5 else ''})" if columns else ""
    )


def _place(loader: str, path: str, field: Mapping[str, Any]) -> str:
    first = field["first_bad"]
    if first is None:
        return f"{loader}, {path}"
    row = f"data set row {first['index']}" if first["index"] is not None else f"batch {first['batch']}, row {first['row']}"
    return f"{loader}, {path}, {row}"
