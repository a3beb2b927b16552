from __future__ import annotations

import pytest

from diagnose.rules.sum_reduction import SumReduction
from diagnose.values import Severity
from tests.rules.probes import findings


def seen(ratio: float, samples: int = 100) -> dict[str, float]:
    return {"single": 40.0, "double": 40.0 * ratio, "ratio": ratio, "samples": samples}


def test_a_sum_with_sgd() -> None:
    (finding,) = findings(SumReduction(), probe__reduction=seen(2.0), optimizers=["SGD"])
    assert finding.severity is Severity.WARNING
    assert finding.where == "model.py:31"
    assert finding.message == "the loss is a sum over the batch: 40 for 100 samples, 80 when each is given twice"
    assert finding.fix == 'use reduction="mean" in the loss, or divide the loss by the number of samples'
    assert finding.evidence == {"ratio": 2.0, "samples": 100, "tolerance": 0.1}


@pytest.mark.parametrize(
    ("optimizers", "severity"),
    [(["AdamW"], Severity.INFO), (["Adam", "SGD"], Severity.WARNING), (["RMSprop", "NAdam"], Severity.INFO), ([], Severity.WARNING)],
)
def test_adam_does_not_mind(optimizers: list[str], severity: Severity) -> None:
    (finding,) = findings(SumReduction(), probe__reduction=seen(2.0), optimizers=optimizers)
    assert finding.severity is severity


def test_without_known_optimizers_it_is_a_warning() -> None:
    (finding,) = findings(SumReduction(), probe__reduction=seen(1.95))
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("ratio", [1.0, 1.5, 1.89, 2.11, 4.0])
def test_a_mean_is_clean(ratio: float) -> None:
    assert findings(SumReduction(), probe__reduction=seen(ratio)) == []


def test_one_sample_says_nothing() -> None:
    assert findings(SumReduction(), probe__reduction=seen(2.0, samples=1)) == []


@pytest.mark.parametrize(("rate", "severity"), [(0.02 / 100, Severity.INFO), (0.1, Severity.WARNING)])
def test_a_rate_that_makes_up_for_the_sum_is_for_information(rate: float, severity: Severity) -> None:
    run = {"optimizers": [{"name": "SGD", "lr": rate}]}
    (finding,) = findings(SumReduction(), probe__reduction=seen(2.0), optimizers=["SGD"], run=run)
    assert finding.severity is severity
