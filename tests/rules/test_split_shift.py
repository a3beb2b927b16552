from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.split_shift import SplitShift
from diagnose.values import Finding, Severity


def moved(distance: float, column: int = 1, ratio: float = 1.0) -> dict[str, Any]:
    return {
        "column": column,
        "distance": distance,
        "ratio": ratio,
        "train_mean": 0.0,
        "train_std": 1.0,
        "val_mean": distance,
        "val_std": 1.0,
    }


def table(distance: float = 0.1, **changes: Any) -> dict[str, Any]:
    base = {"rows": [1000, 400], "axis": "column", "features": 4, "shifted": 0, "worst": moved(distance), "image": None, "noise": 0.06}
    return {**base, **changes}


def labels(**changes: Any) -> dict[str, Any]:
    base = {
        "train": {"0": 500, "1": 500},
        "val": {"0": 100, "1": 100},
        "missing": [],
        "missing_share": 0.0,
        "unseen": [],
        "unseen_share": 0.0,
    }
    return {**base, "distance": 0.02, "noise": 0.02, "train_evenness": 0.9, "val_evenness": 0.9, **changes}


def judge(
    x: dict[str, Any] | None = None,
    y: dict[str, Any] | None = None,
    value: dict[str, Any] | None = None,
    reloads: bool = False,
    changed_by: str = "",
    **train: Any,
) -> list[Finding]:
    record = Record()
    record.add("run", {"reloads": reloads})
    if changed_by:
        record.add("data.changed_by", changed_by)
    record.add("data", {"train": {"order": "random", "coverage": 1.0, **train}})
    loader = {"inputs": {"x": x or table()}, "labels": y, "values": value, "loss": "cross_entropy"}
    record.add("data.shift", {"val/0": loader, "val/1": {**loader, "inputs": {"x": table(9.0)}}})
    first, *rest = [[f for f in SplitShift().judge(record) if f.where == name] for name in ("val/0", "val/1")]
    assert [f.severity for f in rest[0]] == [Severity.INFO]  # a further loader never alarms
    return first


def test_a_column_in_another_unit() -> None:
    (finding,) = judge(table(4.1))
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("column 1 of x has mean 0 and standard deviation 1 in training, 4.1 and 1 in validation")


def test_the_only_feature_moved_and_stretched() -> None:
    (finding,) = judge(table(features=1, shifted=1, worst=moved(2.3, 0, ratio=3.0)))
    assert finding.severity is Severity.WARNING
    assert finding.evidence["threshold"] == 1.5
    for alone in ({"worst": moved(2.3, 0)}, {"worst": moved(1.0, 0, ratio=3.0)}, {"worst": moved(2.3, 0, ratio=3.0), "rows": [1000, 12]}):
        assert judge(table(features=1, shifted=1, **alone)) == []


def test_windows_of_a_series_are_one_feature() -> None:
    drift = table(features=24, shifted=24, worst=moved(2.2, ratio=0.6))
    assert len(judge(drift)) == 1
    assert judge({**drift, "windows": True}) == []
    assert len(judge({**drift, "windows": True, "worst": moved(4.0)})) == 1


def test_half_of_the_columns() -> None:
    (finding,) = judge(table(1.6, shifted=2))
    assert "2 of 4 features of x differ, most of all column 1, which has mean" in finding.message


def test_images_taken_together() -> None:
    image = table(0.9, axis="channel", features=1, image=moved(0.9, -1))
    assert judge(image)[0].message.startswith("x has mean 0")
    assert len(judge({**image, "image": moved(0.4, -1, ratio=0.2), "worst": moved(0.4)})) == 1
    assert judge({**image, "image": moved(0.4, -1), "worst": moved(0.4)}) == []


def test_targets_on_another_scale() -> None:
    assert judge(value=moved(150.0))[0].message.startswith("the target has mean 0")
    assert judge(value=moved(2.2)) == []


def test_classes_that_validation_lacks() -> None:
    (finding,) = judge(y=labels(missing=[{"class": c, "expected": 40.0} for c in (2, 3)]))
    assert finding.message == "class 2, 3 makes up 40% of training and does not occur among 200 validation rows"
    assert judge(y=labels(missing=[{"class": 2, "expected": 4.0}])) == []


def test_classes_that_training_lacks() -> None:
    (finding,) = judge(y=labels(unseen=[{"class": 9, "found": 60}]))
    assert finding.message == "class 9 makes up 30% of validation and does not occur among 1000 training rows"
    assert judge(y=labels(unseen=[{"class": 9, "found": 2}])) == []


def test_a_class_that_was_not_among_the_few_rows_read_is_not_said_to_lack() -> None:
    rare = [{"class": 9, "found": 60}]
    some = labels(unseen=rare, train={"0": 200, "1": 200})
    many = labels(unseen=rare, train={str(c): 5 for c in range(200)})
    for y in (some, many):
        assert len(judge(y=y)) == 1
        assert judge(y=y, coverage=0.1) == judge(y=y, coverage=None) == []
    assert len(judge(y=labels(unseen=rare), coverage=0.1)) == 1


@pytest.mark.parametrize(
    ("y", "order", "severity"),
    [
        (labels(distance=0.5), "random", Severity.WARNING),
        (labels(distance=0.3), "random", Severity.INFO),
        (labels(distance=0.5), "weighted", Severity.INFO),
        (labels(distance=0.5, val_evenness=1.0), "random", Severity.INFO),
    ],
)
def test_other_shares_of_the_classes(y: dict[str, Any], order: str, severity: Severity) -> None:
    (finding,) = judge(y=y, order=order)
    assert finding.severity is severity
    assert "the class shares of training and validation differ by" in finding.message


@pytest.mark.parametrize("given", [{"drawn": 0.3}, {"reloads": True}, {"changed_by": "Net.on_train_epoch_start"}])
def test_what_a_first_epoch_lacks_may_come_later(given: dict[str, Any]) -> None:
    later = [labels(unseen=[{"class": 9, "found": 60}]), labels(distance=0.5)]
    for finding in [*(judge(y=y, **given)[0] for y in later), judge(table(9.0), **given)[0], judge(value=moved(150.0), **given)[0]]:
        assert finding.severity is Severity.INFO
    (lacking,) = judge(y=labels(missing=[{"class": 2, "expected": 40.0}]), **given)
    assert lacking.severity is Severity.WARNING
    assert judge(table(9.0), drawn=0.95)[0].severity is Severity.WARNING


@pytest.mark.parametrize(
    "x",
    [
        table(),
        table(2.5),
        table(2.5, shifted=1),
        table(8.0, rows=[1000, 5]),
        table(3.1, noise=0.3),
        table(0.3, shifted=3),
        table(2.0, shifted=3, rows=[1000, 15]),
    ],
)
def test_drift_and_chance_stay_silent(x: dict[str, Any]) -> None:
    assert judge(x, labels()) == []


@pytest.mark.parametrize(("calls", "severity"), [(0, Severity.INFO), (1, Severity.WARNING)])
def test_new_classes_that_a_search_is_tested_with(calls: int, severity: Severity) -> None:
    record = Record()
    known = {"train": {"0": 500}, "val/0": {"2": 200}}
    entries = {name: {"target": "y", "fields": {"y": {"target": {"counts": counts}}}} for name, counts in known.items()}
    seen = labels(train={"0": 500}, val={"2": 200}, unseen=[{"class": "2", "found": 200}], unseen_share=1.0)
    record.add("data", {**entries, "train": {**entries["train"], "order": "random", "coverage": 1.0}})
    record.add("data.shift", {"val/0": {"inputs": {}, "labels": seen, "values": None, "loss": "cross_entropy"}})
    record.add("probe.validation", {"calls": calls})
    (finding,) = SplitShift().judge(record)
    assert finding.severity is severity
    assert finding.fix.startswith("nothing, where validation is to be of new classes") is (severity is Severity.INFO)


def test_new_classes_of_episodes_that_are_numbered_anew() -> None:
    counts: dict[str, dict[str, int]] = {"train": {str(i): 40 for i in range(60)}, "val/0": {str(i): 20 for i in range(60, 75)}}
    entries: dict[str, Any] = {name: {"target": "y", "fields": {"y": {"target": {"counts": own}}}} for name, own in counts.items()}
    for classes, severity in ((5, Severity.INFO), (60, Severity.WARNING)):
        record = Record()
        entries["train"] |= {"order": "random", "coverage": 1.0, "loss": {"classes": classes}}
        seen = labels(train=counts["train"], val=counts["val/0"], unseen=[{"class": "60", "found": 300}], unseen_share=1.0)
        record.add("data", entries)
        record.add("data.shift", {"val/0": {"inputs": {}, "labels": seen, "values": None, "loss": "cross_entropy"}})
        record.add("probe.validation", {"calls": 1})
        (finding,) = SplitShift().judge(record)
        assert finding.severity is severity


def test_a_target_that_is_but_guessed_is_not_compared() -> None:
    """Rewards in training, returns in validation: the loss gets what the step makes of the former."""
    assert judge(value=moved(150.0))[0].severity is Severity.WARNING
    assert judge(value=moved(150.0), guessed=["target"]) == []


@pytest.mark.parametrize(("coverage", "ratio", "found"), [(0.5, 0.1, 0), (1.0, 0.1, 1), (0.5, 0.9, 1)])
def test_classes_that_a_part_of_a_sorted_loader_lacks_are_not_missed(coverage: float, ratio: float, found: int) -> None:
    record = Record()
    record.add("run", {"reloads": False})
    record.add("data", {"train": {"order": "custom", "coverage": coverage}})
    record.add("data.order", {"ratio": ratio, "along": 0.9})
    counts = labels(train={"0": 500, "1": 525}, unseen=[{"class": 2, "found": 80}], unseen_share=0.4)
    record.add("data.shift", {"val/0": {"inputs": {}, "labels": counts, "values": None, "loss": "cross_entropy"}})
    assert len(list(SplitShift().judge(record))) == found


def sampled(rare: float = 0.075, drawn: float = 0.01, weight: float = 150.0) -> Record:
    """Three classes under a sampler that draws the rarest one for this share of the rows."""
    result = Record()
    common = {"drawn": 0.9 - drawn, "share": 0.9 - rare, "weight": 1400.0}
    other = {"drawn": 0.1, "share": 0.1, "weight": 450.0}
    result.add("data.sampling", {"0": common, "1": other, "2": {"drawn": drawn, "share": rare, "weight": weight}})
    return result


def test_a_sampler_with_the_counts_for_weights() -> None:
    (finding,) = SplitShift().judge(sampled())
    assert finding.where == "sampler of the training loader"
    assert finding.message == (
        "the sampler draws class 2, 0.075 of the data set, for 0.01 of the rows, and class 0, 0.83 of it, for 0.89: its weights rise with "
        "the frequency of the classes, and training sees other shares than the data have"
    )
    assert finding.fix == "weigh the rows by the inverse of their class's count: 1 / counts[y]"


@pytest.mark.parametrize("changes", [{"drawn": 0.04}, {"drawn": 0.3}, {"rare": 0.4, "drawn": 0.1}])
def test_a_sampler_that_leaves_or_narrows_the_gap(changes: dict[str, float]) -> None:
    record = sampled(**changes)
    assert "data.shift was not recorded" in run(SplitShift(), record).reason


def test_a_class_that_is_never_predicted_is_said_in_place_of_its_sampler() -> None:
    record = sampled()
    record.add("data.ignored", {"value": 2, "share": 0.3, "inside": 40, "ends": 60})
    assert list(SplitShift().judge(record)) == []
