"""The data that need no download."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import datasets

from diagnose.data.bundled import Bundled

SIZES = {"digits": 1797, "breast_cancer": 569, "wine": 178, "iris": 150, "moons": 2000}
PARTS = ("train", "val", "test")


@pytest.mark.parametrize("name", SIZES)
def test_the_parts_share_out_all_samples_and_keep_the_proportions_of_the_classes(name: str) -> None:
    data = Bundled(name, batch_size=16)
    labels = [data.part(part).tensors[1] for part in PARTS]
    assert sum(map(len, labels)) == SIZES[name]
    assert [round(len(y) / SIZES[name], 2) for y in labels] == pytest.approx([0.65, 0.15, 0.20], abs=0.01)
    whole = torch.bincount(torch.cat(labels)) / SIZES[name]
    for y in labels:
        assert torch.allclose(torch.bincount(y, minlength=data.outputs) / len(y), whole, atol=0.03)
    assert data.part("test").tensors[0].shape[1:] == data.inputs


def test_no_sample_is_in_two_parts() -> None:
    data = Bundled("digits", normalise="none")
    rows = np.concatenate([data.part(part).tensors[0].flatten(1).numpy() for part in PARTS])
    own = datasets.load_digits().data
    assert np.array_equal(rows[np.lexsort(rows.T)], own[np.lexsort(own.T)])


def test_normalisation_is_fitted_on_the_training_part() -> None:
    x = {part: Bundled("wine", batch_size=16).part(part).tensors[0].double() for part in PARTS}
    assert torch.allclose(x["train"].mean(0), torch.zeros(13).double(), atol=1e-5)
    assert torch.allclose(x["train"].std(0, correction=0), torch.ones(13).double(), atol=1e-5)
    assert not torch.allclose(x["test"].mean(0), torch.zeros(13).double(), atol=1e-2)
    pixels = Bundled("digits", normalise="min-max").part("train").tensors[0]
    assert (float(pixels.min()), float(pixels.max())) == (0.0, 1.0)


def test_the_split_and_the_order_follow_the_seed() -> None:
    def first(seed: int) -> Any:
        loader = Bundled("iris", batch_size=16, seed=seed).train_dataloader()
        return [y.tolist() for _, y in loader], [y.tolist() for _, y in loader]

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert first(1)[0] != first(1)[1]


def test_only_the_training_part_is_shuffled_and_no_batch_has_one_sample() -> None:
    data = Bundled("iris", batch_size=16)
    assert (len(data.part("train")), [len(y) for _, y in data.train_dataloader()]) == (97, [16] * 6)
    assert torch.equal(torch.cat([y for _, y in data.val_dataloader()]), data.part("val").tensors[1])
    assert torch.equal(torch.cat([y for _, y in data.test_dataloader()]), data.part("test").tensors[1])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "mnist"}, "data.name must be one of digits, moons, breast_cancer, wine, iris, diabetes, blobs, got 'mnist'"),
        ({"normalise": "zscore"}, "data.normalise must be one of z-score, min-max, none, got 'zscore'"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
        ({"val_share": 0.5, "test_share": 0.5}, "must be above 0 and together below 1, got 0.5 and 0.5"),
        ({"name": "iris", "batch_size": 98}, "data.batch_size=98 is larger than the training part of 97 samples; choose at most 48"),
        ({"name": "iris", "val_share": 0.01}, "the data cannot be split by data.val_share=0.01 and data.test_share=0.2: "),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Bundled(**options)


def test_a_part_with_one_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagnose.data.parts.train_test_split", lambda rows, **_: (rows[:50], rows[50:]))  # iris is sorted by class
    with pytest.raises(ValueError, match=r"the train part has .* samples of one class; raise its share"):
        Bundled("iris", batch_size=8)
