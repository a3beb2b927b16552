"""A column that tells the target by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.feature_selection import f_classif, r_regression

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record
from tests.experiments.odd import loaders

X = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
ROLES = {"batch[0]": "input", "batch[1]": "target"}


def seen(x: torch.Tensor, y: torch.Tensor, kind: str) -> Record:
    record = Record()
    shape = [16, 2] if kind == "cross_entropy" else [16]
    loss = {"kind": kind, "classes": 2, "input_shape": shape, "target_shape": [16], "target_dtype": str(y.dtype).removeprefix("torch.")}
    roles = {p.replace("batch", ""): r for p, r in ROLES.items()} | ROLES
    measure_data(record, loaders(x, y)[0], None, roles=roles, loss=loss, seconds=math.inf)
    return record


def test_the_share_between_the_classes() -> None:
    y = (X[:, 3] + X[:, 1] > 0).long()
    x = X.clone()
    x[:, 2] = 2.0 * y - 1 + 0.1 * X[:, 2]
    fact = seen(x, y, "cross_entropy").facts["data.telling"]
    f, _ = f_classif(x[:300].numpy(), y[:300].numpy())
    ratio = f / (f + 298)  # from the F statistic of 300 rows in two classes
    assert (fact["column"], fact["features"], fact["kind"]) == (2, 5, "class")
    assert fact["share"] == pytest.approx(ratio[2], rel=1e-6)
    assert fact["second"] == pytest.approx(sorted(ratio)[-2], rel=1e-6)


def test_how_far_two_classes_lie_apart_in_a_column() -> None:
    y = (X[:, 3] + X[:, 1] > 0).long()
    x = X.clone()
    x[:, 2] = torch.where(y == 1, 1 + 4 * X[:, 2].abs(), 0)
    fact = seen(x, y, "cross_entropy").facts["data.telling"]
    part, labels = x[:300, 2].numpy().astype(float), y[:300].numpy()
    assert fact["apart"]["column"] == 2
    assert fact["apart"]["gap"] == pytest.approx(part[labels == 1].min() / part.std(), rel=1e-4)
    assert fact["apart"]["second"] == pytest.approx(fact["second"])
    x[:, 2] = X[:, 3] + X[:, 1]  # a threshold on a column has its values on both sides
    near = seen(x, y, "cross_entropy").facts["data.telling"]["apart"]
    assert near is None or near["gap"] < 0.05
    x[:, 2] = (2 * y + torch.arange(400) % 2).float()  # numbers of which any two are as far apart
    assert seen(x, y, "cross_entropy").facts["data.telling"]["apart"] is None


def test_the_variance_in_common() -> None:
    y = X[:, 0] + 0.5 * X[:, 4]
    fact = seen(X, y, "mse_loss").facts["data.telling"]
    expected = np.square(r_regression(X[:300].numpy().astype(float), y[:300].numpy().astype(float)))
    assert (fact["column"], fact["kind"]) == (0, "value")
    assert fact["share"] == pytest.approx(expected[0], rel=1e-4)


def test_images_and_few_rows_are_not_judged() -> None:
    y = (X[:, 0] > 0).long()
    for x, labels in ((X.reshape(400, 1, 5), y), (X[:80], y[:80])):
        assert "no table of at least 100 rows" in seen(x, labels, "cross_entropy").missing["data.telling"]


def test_tokens_of_one_vocabulary_are_no_columns_of_a_table() -> None:
    tokens = torch.randint(0, 6, (400, 5), generator=torch.Generator().manual_seed(1))
    assert "no table of at least 100 rows" in seen(tokens, tokens[:, 4], "cross_entropy").missing["data.telling"]
    symbol = torch.cat([tokens[:, :1] + 20, tokens], 1)
    assert "no table of at least 100 rows" in seen(symbol, tokens[:, 0], "cross_entropy").missing["data.telling"]
    codes = tokens * torch.tensor([1, 2, 3, 4, 5])
    assert seen(codes, tokens[:, 4], "cross_entropy").facts["data.telling"]["column"] == 4
