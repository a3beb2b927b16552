from __future__ import annotations

from typing import Any

from diagnose.record import Record
from diagnose.rules.batchnorm_small_batch import BatchnormSmallBatch
from diagnose.values import Finding, Severity
from tests.rules.probes import findings
from tests.rules.training import falling, training


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


def test_a_momentum_of_nothing_is_found_before_training() -> None:
    (finding,) = findings(
        BatchnormSmallBatch(), probe__norms=[{**norm("net.1", 64), "momentum": 0.0}, {**norm("net.4", 64), "momentum": 0.1}]
    )
    assert finding.severity is Severity.WARNING
    assert finding.where == "self.net.1"
    assert finding.message.startswith("the running averages of net.1 never move: its momentum is 0")


def trained(momentum: float | None, held: float, batches: int = 300) -> list[Finding]:
    """The findings after so many batches that end at a loss of 0.1."""
    facts = {"probe.norms": [{**norm("net.1", 64), "momentum": momentum}]}
    return list(BatchnormSmallBatch().judge(training(falling(2.3, 0.1, batches), facts=facts, val__loss=[1.5, held])))


def test_averages_that_are_mostly_their_start_are_found_where_validation_suffers() -> None:
    (finding,) = trained(0.001, 1.3)
    assert finding.message.startswith("74% of the running averages of net.1 is what they started with after 300 batches")
    assert finding.fix.startswith("give it momentum=0.1")


def test_averages_that_do_no_harm_or_have_had_no_time_are_clean() -> None:
    assert trained(0.001, 0.15) == []
    assert trained(0.01, 1.3) == []
    assert trained(0.001, 1.3, batches=99) == []
    assert trained(None, 1.3) == []
