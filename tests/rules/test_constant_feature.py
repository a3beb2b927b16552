from __future__ import annotations

from typing import Any

from diagnose.record import Record
from diagnose.rules.constant_feature import ConstantFeature
from diagnose.values import Severity


def record(constant: int, *, count: int = 8, samples: int = 400, **changes: Any) -> Record:
    columns = {"axis": "column", "count": count, "constant": constant, "constant_first": list(range(min(constant, 5)))}
    field = {"dtype": "float32", "min": -1.0, "zeros": 0.0, "columns": columns, **changes}
    result = Record()
    result.add("data", {"train": {"inputs": ["x"], "samples": samples, "fields": {"x": field}}})
    return result


def test_constant_columns() -> None:
    (finding,) = ConstantFeature().judge(record(6))
    assert finding.message == "6 of 8 columns of x (columns 0, 1, 2, 3, 4 …) never vary in 400 training rows read"
    assert finding.severity is Severity.INFO


def test_a_field_that_never_varies() -> None:
    (finding,) = ConstantFeature().judge(record(8, min=0.0, zeros=1.0))
    assert finding.message == "x is the same in all 400 training rows read"


def test_varying_few_or_sparse_columns() -> None:
    assert list(ConstantFeature().judge(record(0))) == []
    assert list(ConstantFeature().judge(record(2, samples=20))) == []
    assert list(ConstantFeature().judge(record(3, count=64, min=0.0, zeros=0.5))) == []
    assert list(ConstantFeature().judge(record(2, dtype="int64"))) == []
    assert list(ConstantFeature().judge(record(2, columns=None))) == []
