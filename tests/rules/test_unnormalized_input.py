from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.unnormalized_input import UnnormalizedInput


def column(number: int, scale: float, std: float) -> dict[str, Any]:
    return {"column": number, "scale": scale, "std": std}


def columns(**changes: Any) -> dict[str, Any]:
    one = column(0, 1.7, 1.0)
    return {"axis": "column", "count": 4, "large": 0.0, "widest": one, "narrowest": one, "largest": one, **changes}


def field(**changes: Any) -> dict[str, Any]:
    base = {"dtype": "float32", "mean": 0.0, "std": 1.0, "spread": 1.0, "min": -3.0, "max": 3.0, "zeros": 0.0}
    return {**base, "integers": False, "binary": False, "columns": columns(), **changes}


def record(x: dict[str, Any], loss: dict[str, Any] | None = None) -> Record:
    result = Record()
    result.add("data", {"train": {"inputs": ["batch[0]"], "loss": loss, "fields": {"batch[0]": x}}})
    return result


PIXELS = field(min=0.0, max=255.0, mean=78.0, std=96.0, spread=96.0, integers=True, columns=None)


def test_pixels() -> None:
    (finding,) = UnnormalizedInput().judge(record(PIXELS))
    assert "batch[0] lies between 0 and 255 (mean 78, std 96), as pixels of 0 to 255 do" in finding.message
    assert finding.fix == "divide the pixels by 255"


def test_concentrations_are_no_pixels() -> None:
    (finding,) = UnnormalizedInput().judge(record({**PIXELS, "max": 230.4, "integers": False, "shape": [4]}))
    assert "pixels" not in finding.message + finding.fix


def test_one_column_of_another_order() -> None:
    x = field(columns=columns(largest=column(3, 1.7e9, 8e5), widest=column(3, 1.7e9, 8e5)), spread=8e8)
    (finding,) = UnnormalizedInput().judge(record(x))
    assert finding.where == "batch[0], column 3"
    assert "column 3 of batch[0] is of the order of 1.7e+09" in finding.message


def test_columns_of_different_scale() -> None:
    x = field(columns=columns(widest=column(1, 45.0, 15.0), largest=column(1, 45.0, 15.0), narrowest=column(2, 0.3, 0.2)), spread=8.0)
    (finding,) = UnnormalizedInput().judge(record(x))
    assert "column 1 of batch[0] has standard deviation 15, column 2 has 0.2: a factor of 75" in finding.message


@pytest.mark.parametrize(
    "x",
    [
        field(),
        field(min=0.0, max=16.0, mean=4.9, std=6.0, spread=6.0),  # digits as scikit-learn ships them
        field(dtype="int64", max=30_000.0, spread=9000.0, columns=None),
        field(binary=True, integers=True, columns=columns(largest=None)),
        field(integers=True, zeros=0.9, min=0.0, max=40.0, spread=25.0, columns=None),
        {"dtype": "float32", "columns": None, "nan": 4},  # nothing finite
        field(columns=columns(widest=column(1, 8.0, 6.0), narrowest=column(2, 0.1, 0.05))),
    ],
)
def test_inputs_of_order_one_and_exempt_ones(x: dict[str, Any]) -> None:
    assert list(UnnormalizedInput().judge(record(x))) == []


def test_prototypes_that_no_gradient_moves_take_inputs_in_any_unit() -> None:
    colours = record(PIXELS)
    colours.add("probe.parameters", {"registered": [], "matrices": 1})
    with pytest.raises(NotRun, match="no weight is trained by gradients"):
        list(UnnormalizedInput().judge(colours))


def test_constants_of_a_law_take_inputs_in_any_unit() -> None:
    for matrices, error, known in ((0, 0.01, False), (0, 0.98, True), (1, 0.01, True)):
        law = record(PIXELS)
        law.add("probe.parameters", {"registered": [{"name": "rate"}], "matrices": matrices})
        law.add("task", {"loss": "mse_loss"})
        for step in range(50):
            law.append({"train/loss": error, "target/std": 1.0}, step=step)
        if known:
            assert len(list(UnnormalizedInput().judge(law))) == 1
        else:
            with pytest.raises(NotRun, match="no matrix of weights"):
                list(UnnormalizedInput().judge(law))
            law.add("nonfinite", {"what": "loss"})
            assert len(list(UnnormalizedInput().judge(law))) == 1


def test_what_the_first_layer_was_given_decides() -> None:
    divided, raw = {"kind": "mse_loss", "input_max": 1.0}, {"kind": "mse_loss", "input_max": 255.0}
    assert list(UnnormalizedInput().judge(record(PIXELS, divided))) == []
    assert len(list(UnnormalizedInput().judge(record(PIXELS, raw)))) == 1
    bytes_ = {**PIXELS, "dtype": "uint8"}
    assert [len(list(UnnormalizedInput().judge(record(bytes_, loss)))) for loss in (None, divided, raw)] == [0, 0, 1]


def test_an_outlier_does_not_hide_what_the_first_layer_was_given() -> None:
    largest = {"column": 1, "scale": 63000.0, "std": 20000.0}
    columns = {"axis": "column", "count": 7, "large": 0.7, "widest": largest, "narrowest": {**largest, "std": 0.2}, "largest": largest}
    incomes = field(max=200_000.0, mean=8400.0, std=16000.0, spread=16000.0, columns=columns)
    for reached, count in ((90_000.0, 1), (4.0, 0)):
        assert len(list(UnnormalizedInput().judge(record(incomes, {"kind": "mse_loss", "input_max": reached})))) == count


def test_what_the_first_layer_was_given_decides_where_no_loss_is_known() -> None:
    scaled = record(field(max=1024.0, mean=703.0, std=442.0, spread=442.0, columns=None), None)
    assert len(list(UnnormalizedInput().judge(scaled))) == 1
    scaled.add("probe.step", {"kind": "", "input_max": 4.2})
    assert list(UnnormalizedInput().judge(scaled)) == []


def test_a_network_that_normalises_itself() -> None:
    with pytest.raises(NotRun, match="the network normalises its inputs itself"):
        list(UnnormalizedInput().judge(record(PIXELS, {"kind": "cross_entropy", "input_normalised": True})))


@pytest.mark.parametrize(("count", "integers", "found"), [(1, False, 1), (1, True, 0), (4, False, 0)])
def test_a_column_beside_an_embedding(count: int, integers: bool, found: int) -> None:
    """Of several columns, or whole numbers, some may be those that are embedded."""
    income = column(0, 9e4, 2e4)
    seen = columns(count=count, large=1.0, largest=income, widest=income)
    x = field(min=3e3, max=2e5, mean=3.6e4, std=2e4, spread=2e4, integers=integers, columns=seen)
    assert len(list(UnnormalizedInput().judge(record(x, {"kind": "cross_entropy", "embedded": True, "input_max": 2e5})))) == found


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0039), (-0.811, -0.8)])
def test_faint_inputs_of_which_nothing_is_learned(low: float, high: float) -> None:
    faint = record(field(min=low, max=high, mean=low + 0.0012, std=0.0015, spread=0.0015, columns=None))
    assert list(UnnormalizedInput().judge(faint)) == []
    for step, right in enumerate([0.11] * 12):
        faint.append({"train/accuracy": right, "target/top_share": 0.12}, step=step, epoch=0, batch=step)
    (finding,) = UnnormalizedInput().judge(faint)
    assert f"lies between {low:.3g} and {high:.3g} (std 0.0015), so that weights of the usual size hardly see it vary" in finding.message


@pytest.mark.parametrize(("progress", "std", "count"), [(0.01, 1e-5, 1), (0.9, 1e-5, 0), (0.01, 0.3, 0)])
def test_faint_inputs_of_a_batch_that_is_not_learned_by_heart(progress: float, std: float, count: int) -> None:
    faint = record(field(min=-5 * std, max=5 * std, mean=0.0, std=std, spread=std, columns=None))
    faint.add("probe.overfit", {"progress": progress})
    messages = [f.message for f in UnnormalizedInput().judge(faint)]
    assert [m.partition(", and ")[2] for m in messages] == [
        "one batch learned by heart gains 1% over a constant prediction; a network expects inputs of order one"
    ] * count
