from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from diagnose.measure.slices import grouped, weak_slices

RNG = np.random.default_rng(0)


def test_a_weak_value_of_a_column_is_found() -> None:
    site = np.array(["a", "b", "c", "d"])[RNG.integers(0, 4, 800)]
    noise = RNG.normal(size=800)
    right = (RNG.random(800) < np.where(site == "c", 0.5, 0.9)).astype(float)
    found = weak_slices(right, {"site": site, "noise": noise}, share=True)
    assert found["tested"] == 8, "four sites, four quarters"
    (row,) = found["slices"]
    inside = site == "c"
    assert (row["column"], row["value"], row["n"]) == ("site", "c", inside.sum())
    assert row["score"] == pytest.approx(right[inside].mean())
    assert row["rest"] == pytest.approx(right[~inside].mean())
    assert row["low"] < row["score"] < row["high"] < row["rest"]
    pooled = right.mean()
    z = (right[inside].mean() - right[~inside].mean()) / np.sqrt(pooled * (1 - pooled) * (1 / inside.sum() + 1 / (~inside).sum()))
    assert row["p"] == pytest.approx(8 * norm.cdf(z), rel=1e-6)


def test_numbers_are_sliced_in_quarters() -> None:
    age = np.arange(400.0)
    error = np.where(age >= 300, 5.0, 1.0) + RNG.normal(size=400) * 0.1
    (row,) = weak_slices(-error, {"age": age}, share=False)["slices"]
    assert row["value"] == "299.2 to 399"
    assert row["n"] == 100


def test_chance_is_not_reported() -> None:
    columns = {str(i): RNG.integers(0, 5, 600) for i in range(30)}
    assert weak_slices((RNG.random(600) < 0.8).astype(float), columns, share=True)["slices"] == []


def test_small_slices_are_not_tested() -> None:
    site = np.array(["a"] * 90 + ["b"] * 10)
    assert weak_slices(np.ones(100), {"site": site}, share=True) == {"tested": 0, "slices": []}


def test_rows_that_are_alike_are_grouped() -> None:
    centres = np.repeat([[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]], 100, axis=0)
    groups = grouped(centres + RNG.normal(size=centres.shape), seed=0)
    assert groups is not None
    assert len(set(groups[:100])) == len(set(groups[100:])) == 1
    assert groups[0] != groups[-1]
    assert grouped(np.ones((100, 3)), seed=0) is None
    assert grouped(RNG.normal(size=(30, 3)), seed=0) is None


def test_a_slice_that_another_one_explains_is_part_of_it() -> None:
    site = np.array(["a", "b", "c", "d"])[RNG.integers(0, 4, 800)]
    right = (RNG.random(800) < np.where(site == "c", 0.3, 0.95)).astype(float)
    near = np.where(RNG.random(800) < 0.8, site == "c", False)
    rows = weak_slices(right, {"near": near, "site": site}, share=True)["slices"]
    assert {(r["column"], r["value"]): r["within"] for r in rows} == {("site", "c"): None, ("near", "True"): "site = c"}


def test_class_numbers_are_sliced_by_value_and_named() -> None:
    target = np.repeat(np.arange(60), 40)
    right = np.where(target == 7, 0.0, 1.0)
    found = weak_slices(right, {"class": target}, share=True, names={"class": [f"c{k}" for k in range(60)]})
    assert found["tested"] == 50, "the most frequent"
    assert [(r["column"], r["value"], r["n"]) for r in found["slices"]] == [("class", "c7", 40)]
