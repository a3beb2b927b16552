"""The facts of loaders against what is known of their data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments import data_windows
from tests.experiments.tables import CE, MSE, XY, classes, facts, loader, table


def test_statistics_are_those_of_the_tensor() -> None:
    x = table()
    x[:, 2] = 5.0
    field = facts(loader(x, classes())).facts["data"]["train"]["fields"]["batch[0]"]
    assert field["mean"] == pytest.approx(x.double().mean().item())
    assert field["std"] == pytest.approx(x.double().std(correction=0).item())
    assert (field["min"], field["max"]) == (x.min().item(), x.max().item())
    assert (field["dtype"], field["shape"], field["values"]) == ("float32", [4], 1600)
    columns = field["columns"]
    assert (columns["axis"], columns["count"], columns["constant"], columns["constant_first"]) == ("column", 4, 1, [2])
    expected = np.quantile(x[:, [0, 1, 3]].abs().numpy(), 0.9, axis=0)
    assert columns["largest"]["scale"] == pytest.approx(expected.max(), rel=1e-6)
    assert columns["largest"]["column"] == [0, 1, 3][int(expected.argmax())]


def test_images_have_channels_and_series_features() -> None:
    images = torch.randn(60, 3, 8, 8)
    images[:, 1] = 0.5
    columns = facts(loader(images, classes(60))).facts["data"]["train"]["fields"]["batch[0]"]["columns"]
    assert (columns["axis"], columns["count"], columns["constant_first"]) == ("channel", 3, [1])
    series = torch.randn(60, 20, 2)
    assert facts(loader(series, classes(60))).facts["data"]["train"]["fields"]["batch[0]"]["columns"]["count"] == 2


def test_values_that_are_not_finite_are_found() -> None:
    x = table()
    x[123, 1] = math.nan
    x[200, 3] = math.inf
    field = facts(loader(x, classes())).facts["data"]["train"]["fields"]["batch[0]"]
    assert (field["nan"], field["posinf"], field["neginf"], field["bad_rows"]) == (1, 1, 0, 2)
    assert field["first_bad"] == {"batch": 2, "row": 23, "index": 123}
    assert field["bad_columns"] == [1, 3]
    assert math.isfinite(field["mean"])


@pytest.mark.parametrize("count", [2, 12, 100])
@pytest.mark.parametrize("episodes", [False, True])
def test_order_within_batches_and_along_the_epoch(episodes: bool, count: int) -> None:
    y = torch.arange(count).repeat_interleave(1200 // count)
    batches = [list(range(first, first + 8)) for first in range(0, 1200, 8)]
    if episodes:
        batches = [batches[i] for i in torch.randperm(150, generator=torch.Generator().manual_seed(0))]
    order = facts(DataLoader(TensorDataset(table(1200), y), batch_sampler=batches), loss={**CE, "classes": count}).facts["data.order"]
    assert (order["order"], order["ratio"] < 0.3) == ("custom", True)
    assert abs(order["along"]) < 0.1 if episodes else order["along"] > 0.8


def test_targets_are_counted() -> None:
    y = torch.tensor([0] * 300 + [2] * 100)
    target = facts(loader(table(), y)).facts["data"]["train"]["fields"]["batch[1]"]["target"]
    assert (target["kind"], target["counts"]) == ("class", {"0": 300, "2": 100})
    one_hot = torch.eye(3)[classes()]
    target = facts(loader(table(), one_hot)).facts["data"]["train"]["fields"]["batch[1]"]["target"]
    assert (target["kind"], sum(target["counts"].values()), target["rows_sum"]) == ("class", 400, None)
    soft = torch.randn(400, 3).softmax(1)
    target = facts(loader(table(), soft)).facts["data"]["train"]["fields"]["batch[1]"]["target"]
    assert target["kind"] == "vector"
    assert target["rows_sum"] == pytest.approx([1.0, 1.0], abs=1e-6)
    masks = torch.zeros(60, 4, 4)
    masks[:, 0] = 1
    bce = {**CE, "kind": "binary_cross_entropy_with_logits", "target_shape": [50, 4, 4]}
    target = facts(loader(torch.randn(60, 1, 4, 4), masks), loss=bce).facts["data"]["train"]["fields"]["batch[1]"]["target"]
    assert (target["kind"], target["counts"]) == ("map", {"0": 720, "1": 240})


def test_the_entropy_of_a_sorted_order_is_far_below_that_of_a_mixed_one() -> None:
    y = torch.arange(3).repeat_interleave(200)
    sorted_ = facts(loader(table(600), y)).facts["data.order"]
    assert (sorted_["order"], sorted_["batches"], sorted_["within"]) == ("sequential", 12, 0.0)
    assert sorted_["expected"] == pytest.approx(math.log(3), abs=0.05)
    mixed = facts(loader(table(600), classes(600))).facts["data.order"]
    assert abs(mixed["z"]) < 4
    assert mixed["ratio"] == pytest.approx(1, abs=0.02)


def test_sorted_values_show_as_a_trend() -> None:
    y = table(400, 1)[:, 0]
    assert facts(loader(table(), y), loss=MSE).facts["data.order"]["ratio"] == pytest.approx(1, abs=0.05)
    seen = facts(loader(table(), y.sort().values), loss=MSE).facts["data.order"]
    assert (seen["kind"], seen["trend"]) == ("value", pytest.approx(1))
    assert seen["ratio"] < 0.3


def test_shift_is_in_standard_deviations() -> None:
    x, z = table(2000), table(1000, seed=1)
    z[:, 1] = 2 * z[:, 1] + 3
    seen = facts(loader(x, classes(2000)), loader(z, classes(1000))).facts["data.shift"]["val/0"]["inputs"]["batch[0]"]
    assert (seen["features"], seen["shifted"], seen["worst"]["column"]) == (4, 1, 1)
    assert seen["worst"]["distance"] == pytest.approx(3.0, abs=0.15)
    assert seen["rows"] == [2000, 1000]


def test_labels_of_the_splits_are_compared() -> None:
    seen = facts(loader(table(), classes() % 2), loader(table(100), classes(100) % 2 + 1)).facts["data.shift"]["val/0"]["labels"]
    assert [m["class"] for m in seen["missing"]] == [0]
    assert [u["class"] for u in seen["unseen"]] == [2]
    assert seen["distance"] > 0.5
    same = facts(loader(table(), classes()), loader(table(100), classes(100, seed=3))).facts["data.shift"]["val/0"]["labels"]
    assert same["distance"] < 4 * same["noise"]


def test_several_validation_loaders_have_their_own_entries() -> None:
    record = facts(loader(table(), classes()), [loader(table(100), classes(100)), loader(table(60), classes(60))])
    for name in ("data.overlap", "data.shift"):
        assert set(record.facts[name]) == {"val/0", "val/1"}
    assert set(record.facts["data"]) == {"train", "val/0", "val/1"}


def test_roles_are_guessed_where_nobody_tells() -> None:
    seen = facts(loader(table(), classes()), roles={}, loss=None).facts["data"]["train"]
    assert (seen["inputs"], seen["target"], seen["guessed"]) == (["batch[0]"], "batch[1]", ["input", "target"])
    changed = facts(loader(table(), 2000 + table()[:, 0]), roles={"batch[0]": "input", "batch[1]": "input"}, loss=MSE).facts["data"][
        "train"
    ]
    assert (changed["inputs"], changed["target"], changed["guessed"]) == (["batch[0]"], "batch[1]", ["target"])


def test_roles_of_targets_that_the_step_makes() -> None:
    both = {"batch[0]": "input", "batch[1]": "input"}
    one_hot = {**MSE, "target_shape": [50, 3]}  # made of the labels by the step
    seen = facts(loader(table(), classes()), roles=both, loss=one_hot).facts["data"]["train"]
    assert (seen["target"], seen["guessed"]) == ("batch[1]", ["target"])
    masked = {**MSE, "target_shape": [37]}
    assert facts(loader(table(), table()[:, 0]), roles=both, loss=masked).facts["data"]["train"]["target"] is None
    own = facts(loader(table(), classes()), roles={"batch[0]": "target", "batch[1]": "input"}, loss={**MSE, "target_shape": [50, 4]})
    assert (own.facts["data"]["train"]["inputs"], own.facts["data"]["train"]["target"]) == (["batch[0]"], None)


def test_infinite_targets_do_not_hide_the_rest() -> None:
    y = table(400, 1)[:, 0]
    y[::7] = -math.inf
    record = facts(loader(table(), y), loader(table(100), y[:100]), loss=MSE)
    assert math.isfinite(record.facts["data.order"]["z"])
    assert record.facts["data.shift"]["val/0"]["values"]["distance"] < 1


def test_row_numbers_are_no_inputs() -> None:
    x = table(200).repeat(2, 1)
    seen = facts(loader(x, classes(), torch.arange(400)), roles={**XY, "batch[2]": "input"})
    assert seen.facts["data"]["train"]["inputs"] == ["batch[0]"]
    assert seen.facts["data.conflicts"]["distinct"] == 200


def test_what_is_missing_has_its_reason() -> None:
    record = facts(iter([1]))
    assert record.missing["data"] == record.missing["data.shift"]
    assert "training data: the loader is a plain iterator" in record.missing["data"]
    record = facts(loader(table(), classes()))
    assert record.missing["data.overlap"] == "there is no validation loader"
    record = facts(loader(table(), classes()), iter([1]))
    assert record.missing["data.shift"].startswith("val/0: the loader is a plain iterator")
    record = facts(DataLoader(table(), batch_size=50), roles={"batch": "input"}, loss=MSE)  # type: ignore[arg-type]
    assert record.missing["data.order"] == "the training batches have no field with one target per row"
    record = facts(loader(table(20), classes(20)))
    assert record.missing["data.order"] == "the order cannot be judged from one batch or one target"


def test_facts_are_json() -> None:
    record = facts(loader(table(), classes()), loader(table(seed=1), classes()))
    assert {"data", "data.order", "data.overlap", "data.shift", "data.conflicts"} <= set(record.facts)


def test_masks_beside_the_labels_are_no_labels() -> None:
    x, y, mask = table(), classes(), torch.arange(400) % 5 == 0
    known = {"batch[0]": "input"}  # the loss is given a part of the labels, which is found nowhere in the batch
    record = facts(loader(x, y, mask), loader(table(seed=1), classes(seed=1), ~mask), roles=known, loss={**CE, "target_shape": [10]})
    assert record.facts["data"]["train"]["target"] == "batch[1]"
    assert record.facts["data.shift"]["val/0"]["labels"]["distance"] < 0.1


def test_windows_of_one_series_are_told_from_tables() -> None:
    series = np.cumsum(np.random.default_rng(0).normal(size=400))
    windows = np.lib.stride_tricks.sliding_window_view(series, 12)
    assert data_windows.overlapping(windows[np.random.default_rng(1).permutation(len(windows))])
    assert data_windows.overlapping(windows[::3])
    assert not data_windows.overlapping(windows[::12])
    assert not data_windows.overlapping(np.random.default_rng(0).normal(size=(400, 12)))
    assert not data_windows.overlapping(np.zeros((400, 12)))
