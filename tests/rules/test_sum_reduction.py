from __future__ import annotations

import pytest

from diagnose.record import Record
from diagnose.rules.sum_reduction import SumReduction
from diagnose.values import Finding, Severity
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


@pytest.mark.parametrize(("left", "count"), [(0.01, 0), (0.002, 0), (0.02, 1), (1.0, 1), (None, 1)])
def test_gradients_that_a_manual_loop_divides_by_the_samples(left: float | None, count: int) -> None:
    assert len(findings(SumReduction(), probe__reduction={**seen(2.0), "left": left}, optimizers=["SGD"])) == count


@pytest.mark.parametrize(("rate", "severity"), [(0.02 / 100, Severity.INFO), (0.1, Severity.WARNING)])
def test_a_rate_that_makes_up_for_the_sum_is_for_information(rate: float, severity: Severity) -> None:
    run = {"optimizers": [{"name": "SGD", "lr": rate}]}
    (finding,) = findings(SumReduction(), probe__reduction=seen(2.0), optimizers=["SGD"], run=run)
    assert finding.severity is severity


def crowded(error: float = 1.0, **changes: float) -> list[Finding]:
    """The findings after a run with this squared error over targets of variance 1."""
    record = Record()
    record.add("probe.reduction", {**seen(1.94), "watched": 1.0, "added": 2.0, **changes})
    penalty = {"added": [10.1, 9.9, 10.6], "losses": [11.2, 11.0, 11.7], "data_gradient": 0.5, "added_gradient": 65.0}
    for name, fact in {"probe.penalty": penalty, "task": {"loss": "mse_loss"}, "optimizers": ["Adam"]}.items():
        record.add(name, fact)
    for step in range(20):
        record.append({"train/watched_loss": error, "target/std": 1.0}, step=step)
    return list(SumReduction().judge(record))


def test_a_sum_beside_a_mean_is_found_under_adam_too() -> None:
    (finding,) = crowded()
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "what training_step adds to its loss is a sum over the batch: it grows by 2 when each of the 100 samples is given twice, the loss "
        "by 1; it pulls 130 times as hard"
    )
    assert finding.fix == "take the mean over the samples of both, then sum them"


def test_a_sum_beside_a_mean_that_leaves_room_to_learn_is_for_information() -> None:
    (finding,) = crowded(error=0.3)
    assert finding.severity is Severity.INFO
    (finding,) = crowded(watched=2.0)  # all of it is a sum
    assert finding.severity is Severity.INFO
    assert "the loss is a sum over the batch" in finding.message


@pytest.mark.parametrize(("spread", "severity"), [(0.02, Severity.WARNING), (0.3, Severity.INFO)])
def test_predictions_that_hardly_vary_have_gained_nothing_either(spread: float, severity: Severity) -> None:
    record = Record()
    record.add("probe.reduction", {**seen(1.94), "watched": 1.0, "added": 2.0})
    penalty = {"added": [10.1, 9.9, 10.6], "losses": [11.2, 11.0, 11.7], "data_gradient": 0.5, "added_gradient": 65.0}
    for name, fact in {"probe.penalty": penalty, "task": {"loss": "binary_cross_entropy"}, "optimizers": ["Adam"]}.items():
        record.add(name, fact)
    for step in range(20):
        record.append({"prediction/std": spread, "target/std": 0.35}, step=step)
    assert [f.severity for f in SumReduction().judge(record)] == [severity]


def in_part(spread: float = 0.02, held: float = 0.02, finished: bool = True, **losses: float) -> list[Finding]:
    """The findings after a run whose loss is a mean of 45 and a sum of 6, and whose predictions spread so."""
    record = Record()
    values = {"single": 51.0, "double": 57.0, "quadruple": 69.0, **losses}
    record.add("probe.reduction", {**values, "ratio": values["double"] / values["single"], "samples": 100})
    record.add("run", {"finished": finished, "optimizers": [{"name": "Adam", "lr": 1e-3}]})
    for step in range(20):
        record.append({"prediction/std": spread, "target/std": 0.35, "val/std": held, "val/target_std": 0.35}, step=step)
    return list(SumReduction().judge(record))


def test_a_sum_hidden_in_a_larger_mean_is_found_where_nothing_was_learned() -> None:
    (finding,) = in_part()
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "a part of the loss is a sum over the batch, the rest is a mean: 51 for 100 samples, 57 and 69 when each is given two and four "
        "times; the predictions vary 6% as much as the targets"
    )


def test_the_noise_of_a_latent_variable_in_training_is_not_what_was_learned() -> None:
    assert len(in_part(spread=0.1, held=0.001)) == 1


def test_other_losses_that_know_the_batch_and_sums_that_leave_room_to_learn_are_clean() -> None:
    assert in_part(held=0.17) == in_part(finished=False) == []
    assert in_part(quadruple=63.0) == []  # a logarithm of the number of samples
    assert in_part(quadruple=81.0) == []  # their square
    assert in_part(double=51.5, quadruple=52.5) == []  # too small
