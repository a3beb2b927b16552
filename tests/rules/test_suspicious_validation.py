"""Rule T321: validation far better than training."""

from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules.suspicious_validation import SuspiciousValidation
from tests.rules.training import findings, not_run, training


def test_validation_that_is_far_too_easy_is_found() -> None:
    record = training([1.0] * 300, val__loss=[0.05] * 10, train__accuracy=[0.6] * 30, val__accuracy=[0.99] * 10)
    (found,) = findings(SuspiciousValidation(), record)
    assert found.evidence["ratio"] == 0.05


def test_dropout_in_training_is_healthy() -> None:
    record = training([1.0] * 300, val__loss=[0.6] * 10, train__accuracy=[0.6] * 30, val__accuracy=[0.8] * 10)
    assert findings(SuspiciousValidation(), record) == ()


def test_the_same_loss_call_is_compared() -> None:
    assert findings(SuspiciousValidation(), training([1.0] * 300, train__watched_loss=[0.06] * 30, val__loss=[0.05] * 10)) == ()


def test_losses_of_the_same_time_are_compared() -> None:
    record = training([0.05] * 150 + [0.9] * 150)
    for place in (30, 60, 90, 120, 149):
        record.append({"val/loss": 0.05}, step=place, epoch=place // 30, batch=place)  # another loss is validated later
    assert findings(SuspiciousValidation(), record) == ()


def test_a_small_part_of_the_training_loss_is_not_compared() -> None:
    record = training([0.08] * 300, train__watched_loss=[1.8] * 30, val__loss=[0.1] * 10)
    assert "but a small part" in not_run(SuspiciousValidation(), record)


def faultless(shares: list[float], right: float = 1.0, trained: float = 0.8) -> Record:
    known: dict[str, Any] = {"val__accuracy": [right] * len(shares), "val__target_top_share": shares}
    return training([0.5] * 300, val__loss=[0.4] * len(shares), train__accuracy=[trained] * 30, **known)


def test_targets_that_follow_the_predictions_are_found() -> None:
    (found,) = findings(SuspiciousValidation(), faultless([0.31, 0.28, 0.28, 0.27, 0.28]))
    assert found.evidence["validations"] == 5


def test_a_validation_without_error_is_healthy_where_its_targets_stand_or_training_is_as_good() -> None:
    assert findings(SuspiciousValidation(), faultless([0.3] * 8)) == ()
    assert findings(SuspiciousValidation(), faultless([0.31, 0.28, 0.28, 0.27, 0.28], trained=0.97)) == ()  # a stream of easy samples
    assert findings(SuspiciousValidation(), faultless([0.31, 0.28, 0.28, 0.27, 0.28], right=0.99)) == ()


def table(share: float, second: float, kind: str = "class", features: int = 20, right: float = 0.99) -> Record:
    seen = {"path": "batch[0]", "column": 7, "features": features, "kind": kind, "share": share, "second": second}
    known: dict[str, Any] = {"train__accuracy": [right] * 30, "target__top_share": [0.5] * 30}
    return training([0.1] * 300, facts={"data.telling": seen}, val__loss=[0.1] * 10, **known)


def test_a_column_that_tells_the_target_is_found() -> None:
    (found,) = findings(SuspiciousValidation(), table(0.99, 0.1))
    assert found.where == "train, batch[0][:, 7]"
    assert "column 7 of batch[0] tells the target alone" in found.message


@pytest.mark.parametrize(("gap", "second", "found"), [(0.5, 0.2, 1), (0.05, 0.2, 0), (0.5, 0.6, 0)])
def test_a_column_whose_values_are_apart_in_two_classes_is_found(gap: float, second: float, found: int) -> None:
    record = table(0.75, 0.2)
    record.facts["data.telling"]["apart"] = {"path": "batch[0]", "column": 3, "gap": gap, "second": second}
    told = findings(SuspiciousValidation(), record)
    expected = "column 3 of batch[0] tells the target alone: its values in the two classes are 0.5 standard deviations or more apart"
    assert [expected in f.message for f in told] == [True] * found


def test_strong_features_are_healthy() -> None:
    assert findings(SuspiciousValidation(), table(0.64, 0.01)) == ()  # a threshold on one column
    assert findings(SuspiciousValidation(), table(0.97, 0.9)) == ()  # well separated clusters
    assert findings(SuspiciousValidation(), table(0.99, 0.1, kind="value")) == ()  # a linear relation with noise
    assert findings(SuspiciousValidation(), table(1.0, 0.1, features=2)) == ()
    assert findings(SuspiciousValidation(), table(0.99, 0.1, right=0.8)) == ()


def test_two_validations_are_too_short() -> None:
    assert "too short" in not_run(SuspiciousValidation(), training([1.0] * 60, val__loss=[0.1] * 2))


def test_a_loss_that_only_the_module_knows_is_not_compared() -> None:
    record = training([1.0] * 300, val__loss=[0.05] * 10)
    record.add("validation", {"loss": "", "calls": 0, "logged": "val_loss"})
    assert "'val_loss' as the module logs it, which may have another scale" in not_run(SuspiciousValidation(), record)


def test_a_loss_whose_training_call_is_weighted_is_not_compared() -> None:
    record = training([1.0] * 300, facts={"task": {"loss": "mse_loss", "written": True}}, val__loss=[0.03] * 10)
    assert "the training loss is weighted" in not_run(SuspiciousValidation(), record)


def test_losses_of_targets_in_other_units_are_not_compared() -> None:
    for spread, told in ((0.1, True), (0.8, False)):
        spreads: dict[str, Any] = {"target__std": [1.0] * 30, "val__target_std": [spread] * 10}
        record = training([0.4] * 300, val__loss=[0.004] * 10, **spreads)
        if told:
            assert "another scale than those of training" in not_run(SuspiciousValidation(), record)
        else:
            assert len(findings(SuspiciousValidation(), record)) == 1


def averaged(share: float, size: int = 50, train_share: float = 1.0, wobble: float = 0.0) -> Record:
    held = [0.7 - 0.01 * i for i in range(10)]
    logged = [v * share * (1 + wobble * (-1) ** i) for i, v in enumerate(held)]
    facts = {"data": {"val/0": {"batch_size": size, "total": 510}}}
    series: dict[str, Any] = {"val__loss": held, "metric/val_loss": logged, "metric/train_loss": [0.5 * train_share] * 10}
    return training([0.5] * 300, facts=facts, **series)


def test_means_of_batches_that_are_divided_by_the_samples_are_found() -> None:
    for share in (1 / 50, 11 / 510):
        (found,) = findings(SuspiciousValidation(), averaged(share))
        assert found.where == "val_loss"
        assert "and batches have 50 samples: means of batches are divided by the number of samples" in found.message


def test_logged_losses_of_another_scale_are_healthy() -> None:
    assert findings(SuspiciousValidation(), averaged(1.0)) == ()
    assert findings(SuspiciousValidation(), averaged(1 / 70)) == ()  # a unit
    assert findings(SuspiciousValidation(), averaged(1 / 4, size=4)) == ()
    assert findings(SuspiciousValidation(), averaged(1 / 50, train_share=1 / 50)) == ()  # training is logged alike
    assert findings(SuspiciousValidation(), averaged(1 / 50, wobble=0.1)) == ()  # another quantity


@pytest.mark.parametrize(("share", "places", "found"), [(0.12, 200, 1), (0.08, 200, 0), (0.5, 90, 0)])
def test_padding_that_validation_scores(share: float, places: int, found: int) -> None:
    fact = {"path": "batch[0]", "value": 0.0, "places": places, "share": share, "known": 1.0, "label": 0, "agree": 1.0}
    record = training([1.0] * 300, facts={"data.padding": fact}, val__loss=[0.6] * 10)
    assert len(findings(SuspiciousValidation(), record)) == found


@pytest.mark.parametrize(
    ("share", "trained", "places", "step", "found"),
    [
        (0.79, 0.31, 900, {}, 1),
        (0.79, None, 900, {}, 1),  # training has no padding, or masks it
        (0.52, 0.31, 900, {}, 1),
        (0.48, 0.0, 900, {}, 0),
        (0.52, 0.45, 900, {}, 0),  # as much as in training, but for the size of the batches
        (0.9, 0.55, 900, {}, 0),  # class-imbalance says it
        (0.9, 0.55, 900, {"reduction": "none"}, 1),  # training masks it
        (0.9, 0.55, 900, {"class_weights": {"weight": [0.0, 1.0], "count": [5, 5]}}, 1),
        (0.79, 0.31, 90, {}, 0),
    ],
)
def test_padding_that_the_validation_loss_counts(
    share: float, trained: float | None, places: int, step: dict[str, Any], found: int
) -> None:
    fact = {"path": "batch[0]", "value": 0.0, "label": 0, "places": places, "share": share}
    facts: dict[str, Any] = {"data.filled": fact, "probe.step": {"class_weights": None, **step}, "data": {}}
    facts |= {} if trained is None else {"data.counted": {**fact, "share": trained}}
    record = training([1.0] * 300, facts=facts, val__loss=[0.6] * 10)
    named = findings(SuspiciousValidation(), record)
    assert len(named) == found
    assert all(f"{share:.0%} of the targets that the validation loss counts are padding" in f.message for f in named)
    assert all(("of those of training (class 0" in f.message) is (trained is not None and not step) for f in named)


def test_padding_is_told_before_training_and_once() -> None:
    counted = {"path": "batch[0]", "value": 0.0, "label": 0, "places": 900, "share": 0.3}
    record = Record()
    for name, fact in {"data.filled": {**counted, "share": 0.8}, "data.counted": counted, "probe.step": {}}.items():
        record.add(name, fact)
    assert "80% of the targets that the validation loss counts" in findings(SuspiciousValidation(), record)[0].message
    record.add("data.counted", {**counted, "share": 0.6})  # class-imbalance says it
    assert "val/loss" in not_run(SuspiciousValidation(), record)


@pytest.mark.parametrize(("lead", "errors", "found"), [(0.4, 6.0, 1), (0.26, 4.1, 1), (0.24, 6.0, 0), (0.4, 3.9, 0)])
def test_a_column_made_with_the_labels_of_validation(lead: float, errors: float, found: int) -> None:
    record = Record()
    fact = {"path": "batch[0]", "column": 3, "rows": [3000, 1000], "told": 0.37, "held": 0.37 + lead, "factor": 1.0, "others": 2}
    record.add("data.own_labels", {**fact, "lead": lead, "errors": errors})
    named = [*findings(SuspiciousValidation(), record)] if found else not_run(SuspiciousValidation(), record)
    assert ("column 3 of batch[0] tells far more" in named[0].message) if found else ("val/loss" in named)  # type: ignore[union-attr]
