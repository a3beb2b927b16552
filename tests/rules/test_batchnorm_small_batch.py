from __future__ import annotations

from typing import Any

from diagnose.record import Record
from diagnose.rules.batchnorm_small_batch import BatchnormSmallBatch
from diagnose.values import Severity
from tests.rules.probes import findings


def norm(name: str, values: int, *, batch_norm: bool = True) -> dict[str, Any]:
    return {"name": name, "values": values, "batch_norm": batch_norm, "bias_before": ""}


def test_two_samples() -> None:
    (finding,) = findings(BatchnormSmallBatch(), probe__norms=[norm("net.1", 4), norm("net.4", 2), norm("conv.1", 128)])
    assert finding.severity is Severity.WARNING
    assert finding.where == "self.net.4"
    assert finding.message == "2 batch norms take mean and variance from 2 values per channel, fewer than 8"
    assert finding.fix == "raise the batch size, or use nn.GroupNorm or nn.LayerNorm"
    assert finding.evidence == {"values": 2, "limit": 8}


def test_the_override_of_the_batch_size() -> None:
    record = Record()
    record.add("probe.norms", [norm("bn", 2)])
    record.add("config_keys", {"batch_size": "data.batch_size"})
    assert next(BatchnormSmallBatch().judge(record)).override == "data.batch_size=32"


def test_enough_values_and_other_norms_are_clean() -> None:
    assert findings(BatchnormSmallBatch(), probe__norms=[norm("a", 8), norm("b", 1, batch_norm=False)]) == []
    assert findings(BatchnormSmallBatch(), probe__norms=[]) == []


def test_the_threshold() -> None:
    assert len(findings(BatchnormSmallBatch(values=16), probe__norms=[norm("a", 15)])) == 1
