from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.search.space import Dimension, dimension, space


def test_a_space_is_read_nested_or_dotted() -> None:
    found = space({"optimizer": {"lr": "log(1e-4, 1e-1)", "momentum": "one_minus(0.8, 0.999)"}, "model.hidden": [[64], [128, 64]]})
    assert [d.key for d in found] == ["optimizer.lr", "optimizer.momentum", "model.hidden"]
    assert found[0] == Dimension(key="optimizer.lr", scale="log", low=1e-4, high=0.1)
    assert found[2].options == ([64], [128, 64])
    assert dimension("a", "choice(relu, gelu, [1, 2], true, null, 0.5)").options == ("relu", "gelu", [1, 2], True, None, 0.5)


@pytest.mark.parametrize(
    ("scale", "low", "high", "middle"),
    [
        ("linear", 0.0, 0.5, 0.25),
        ("log", 1e-4, 1e-2, 1e-3),
        ("one_minus", 0.9, 0.999, 0.99),
        ("integer", 1, 9, 5),
        ("log_integer", 4, 64, 16),
    ],
)
def test_the_middle_of_a_scale_is_where_its_formula_puts_it(scale: str, low: float, high: float, middle: float) -> None:
    d = dimension("key", f"{scale}({low}, {high})")
    assert d.value(d.sampled(0.0)) == pytest.approx(low)
    assert d.value(d.sampled(0.5)) == pytest.approx(middle)
    assert d.value(d.sampled(1.0)) == pytest.approx(high)


@pytest.mark.parametrize("text", ["linear(-1, 2)", "log(1e-5, 1)", "one_minus(0.5, 0.9999)"])
def test_unit_is_the_inverse_of_sampled(text: str) -> None:
    d = dimension("key", text)
    for unit in np.linspace(0, 1, 11):
        assert d.unit(d.sampled(float(unit))) == pytest.approx(unit, abs=1e-9)


def test_one_minus_is_even_in_the_logarithm_of_the_distance_from_one() -> None:
    d = dimension("optimizer.momentum", "one_minus(0.9, 0.999)")
    values = np.array([d.value(d.sampled(u)) for u in np.random.default_rng(0).random(4000)])
    assert np.mean(values < 0.99) == pytest.approx(0.5, abs=0.03)
    assert d.name == "1 - optimizer.momentum"
    assert d.distribution.log  # type: ignore[attr-defined]


def test_a_grid_holds_both_ends_and_no_value_twice() -> None:
    assert dimension("key", "log(1e-4, 1e-2)").grid(3) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert dimension("key", "integer(1, 2)").grid(5) == [1, 2]
    assert dimension("key", "choice(a, b, c)").grid(2) == [0, 1, 2]
    assert dimension("key", "linear(0, 1)").grid(1) == [0.5]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("logarithmic(1, 2)", r"expected one of linear\(0, 0.5\), log\(1e-4, 1e-1\).* got 'logarithmic\(1, 2\)'"),
        ("0.1", "expected one of linear"),
        (0.1, "expected one of linear.* got 0.1"),
        ("log(0.1, 0.001)", "the lowest value must stand first and below the highest, got 'log"),
        ("linear(1, 1)", "the lowest value must stand first"),
        ("log(0, 1)", "a log scale needs a lowest value above 0, got 'log"),
        ("log_integer(0, 8)", "a log_integer scale needs a lowest value above 0"),
        ("one_minus(0.9, 1)", "a one_minus scale needs values below 1, got 'one_minus"),
        ("integer(1, 2.5)", "integer takes whole numbers"),
        ("log(1e-3)", "log takes its lowest and its highest value"),
        ("log(a, b)", "log takes its lowest and its highest value"),
        ("linear(0, inf)", "linear takes its lowest and its highest value"),
        ("linear(true, 2)", "linear takes its lowest and its highest value"),
        ("choice(a)", "a choice needs two or more different options"),
        ("choice([a, b)", "cannot be read"),
        ([1, 1], "a choice needs two or more different options"),
    ],
)
def test_what_cannot_be_searched_is_said(given: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dimension("optimizer.lr", given)


def test_a_key_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tune\.space names 'optimizer\.lr' twice"):
        space({"optimizer": {"lr": "log(1e-4, 1)"}, "optimizer.lr": "log(1e-3, 1)"})


def test_values_are_short_enough_to_type() -> None:
    assert dimension("key", "log(1e-4, 1)").value(0.0123456789) == 0.0123457
    assert math.isclose(dimension("key", "one_minus(0.5, 0.999)").value(0.01), 0.99)
