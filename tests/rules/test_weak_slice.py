from __future__ import annotations

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.weak_slice import WeakSlice
from diagnose.values import Finding


def judge(wrong: int, n: int = 400) -> list[Finding]:
    target = np.arange(n) % 4
    prediction = target.copy()
    prediction[np.flatnonzero(target == 2)[:wrong]] = 0
    return list(WeakSlice().judge(evaluate_predictions(Record(), target, prediction, class_names=list("abcd")).record))


def test_one_class_is_hard() -> None:
    (finding,) = judge(40)
    assert finding.message == "60% of the 100 samples of class c are recognised, 100% of the others"
    assert finding.where == "test, true class = c"


def test_a_little_harder_or_too_small() -> None:
    assert judge(15) == []
    with pytest.raises(NotRun, match="with enough samples to compare"):
        judge(8, n=60)


def test_a_value_of_a_column_is_weak_and_what_it_causes_is_folded() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(600) % 3
    site = np.array(["north", "south", "west"])[rng.integers(0, 3, 600)]
    wrong = (site == "north") & (rng.random(600) < 0.6)
    columns = {"site": site, "night": np.where(rng.random(600) < 0.9, site == "north", site != "north")}
    found = evaluate_predictions(Record(), target, np.where(wrong, (target + 1) % 3, target), columns=columns)
    (finding,) = WeakSlice().judge(found.record)
    share, n = 1 - wrong[site == "north"].mean(), (site == "north").sum()
    assert finding.message == f"{share:.0%} of the {n} samples with site = north are right, 100% of the others (shown by 1 more slice)"
    assert finding.where == "test, site = north"


def test_two_causes_are_two_findings() -> None:
    rng = np.random.default_rng(1)
    target = np.arange(800) % 4
    site = np.array(["north", "south", "west", "east"])[rng.integers(0, 4, 800)]
    wrong = ((site == "north") | (target == 2)) & (rng.random(800) < 0.7)
    found = evaluate_predictions(Record(), target, np.where(wrong, (target + 1) % 4, target), columns={"site": site})
    assert {f.where for f in WeakSlice().judge(found.record)} == {"test, site = north", "test, true class = 2"}


def test_values_are_weak_where_the_error_is_a_multiple() -> None:
    rng = np.random.default_rng(0)
    age, noise = np.arange(400.0), rng.normal(size=400)
    found = evaluate_predictions(Record(), age, age + np.where(age >= 300, 5, 1) * noise, columns={"age": age})
    (finding,) = WeakSlice().judge(found.record)
    inner, rest = 5 * np.abs(noise[300:]).mean(), np.abs(noise[:300]).mean()
    assert finding.message == f"the mean error is {inner:.3g} on the 100 samples with age = 299.2 to 399, {rest:.3g} on the others"
    assert list(WeakSlice(times=20.0).judge(found.record)) == []


def test_values_without_columns_have_no_slices() -> None:
    with pytest.raises(NotRun, match="no evaluated loader has classes, metadata or clusters with enough samples to compare"):
        list(WeakSlice().judge(evaluate_predictions(Record(), np.arange(9.0), np.arange(9.0)).record))
