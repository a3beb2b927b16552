"""Models of no training, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.naive_bayes import CategoricalNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.experiments.data_words import by_places
from diagnose.record import Record

LOSS = {"kind": "cross_entropy", "input_shape": [20, 3], "target_shape": [20], "target_dtype": "int64", "classes": 3, "ignore_index": -100}
MSE = {"kind": "mse_loss", "input_shape": [20], "target_shape": [20], "target_dtype": "float32", "classes": None}


def measured(train: TensorDataset, val: TensorDataset | None, loss: dict[str, Any] = LOSS) -> Record:
    record = Record()
    roles = {"batch[0]": "input", "batch[1]": "target"}
    measure_data(record, DataLoader(train, 20), None if val is None else DataLoader(val, 20), roles=roles, loss=loss)
    return record


def rings(rows: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    ring = torch.randint(3, (rows,), generator=generator)
    angle = 6.2832 * torch.rand(rows, generator=generator)
    radius = 0.4 + 0.6 * ring + 0.3 * torch.randn(rows, generator=generator)
    return TensorDataset(torch.stack([radius * angle.cos(), 50 + 9 * radius * angle.sin()], 1), ring)


def test_its_accuracy_is_that_of_scikit_learn() -> None:
    train, val = rings(900, 0), rings(200, 1)
    fact = measured(train, val).facts["data.simple"]
    (x, y), (u, v) = ([t.numpy() for t in part.tensors] for part in (train, val))
    mean, std = x.mean(0), x.std(0)
    expected = KNeighborsClassifier(5).fit((x - mean) / std, y).score((u - mean) / std, v)
    assert 0.6 < expected < 0.95
    assert fact["accuracy"] == pytest.approx(expected, abs=0.011)  # ties among five votes are broken alike, those of distance are not
    assert (fact["rows"], fact["trained"], fact["model"]) == (200, 900, "nearest")
    assert fact["majority"] == pytest.approx(np.bincount(v).max() / 200)


def test_the_variance_that_it_explains_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.rand(800, 2, generator=generator) - 2
    y = torch.sin(2 * x[:, 0]) + 0.2 * torch.randn(800, generator=generator)
    train, val = TensorDataset(x[:600], y[:600]), TensorDataset(x[600:], y[600:])
    fact = measured(train, val, MSE).facts["data.simple"]
    mean, std = x[:600].numpy().mean(0), x[:600].numpy().std(0)
    model = KNeighborsRegressor(5).fit((x[:600].numpy() - mean) / std, y[:600].numpy())
    guessed, held_out = model.predict((x[600:].numpy() - mean) / std), y[600:].numpy()
    assert fact["explained"] == pytest.approx(r2_score(held_out, guessed), abs=1e-5)
    left = (guessed - held_out) ** 2 / held_out.var()
    assert fact["error"] == pytest.approx(left.std() / 200**0.5, rel=1e-4)
    assert (fact["rows"], fact["trained"], fact["model"], "accuracy" in fact) == (200, 600, "nearest", False)


def test_noise_is_not_explained() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(800, 6, generator=generator), torch.randn(800, 1, generator=generator)
    assert measured(TensorDataset(x[:600], y[:600]), TensorDataset(x[600:], y[600:]), MSE).facts["data.simple"]["explained"] < 0.1


def test_images_are_compared_by_some_of_their_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 2
    images = torch.randn(160, 3, 40, 40, generator=generator) + y[:, None, None, None]
    part = TensorDataset(images[:80], y[:80]), TensorDataset(images[80:], y[80:])
    assert measured(*part).facts["data.simple"]["accuracy"] == 1


def test_the_linear_map_is_the_ridge_regression_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(800, 30, generator=generator) * torch.arange(1, 31) + 5
    y = (x / torch.arange(1, 31)) @ torch.randn(30, 2, generator=generator) + torch.randn(800, 2, generator=generator)
    fact = measured(TensorDataset(x[:600], y[:600]), TensorDataset(x[600:], y[600:]), MSE).facts["data.simple"]
    model = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * 600)).fit(x[:600].numpy(), y[:600].numpy())
    score = r2_score(y[600:].numpy(), model.predict(x[600:].numpy()), multioutput="variance_weighted")
    assert (fact["model"], fact["explained"]) == ("linear", pytest.approx(score, rel=1e-3))


def test_a_linear_map_tells_classes_that_neighbours_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(900, 100, generator=generator)
    y = (x[:, :60].sum(1) > 0).long()
    fact = measured(TensorDataset(x[:700], y[:700]), TensorDataset(x[700:], y[700:])).facts["data.simple"]
    assert (fact["model"], fact["classes"]) == ("linear", 2)
    assert fact["accuracy"] > 0.8


def test_of_texts_it_is_the_naive_bayes_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (600,), generator=generator)
    words = torch.where(
        torch.rand(600, 12, generator=generator) < 0.2, 30 + y[:, None], torch.randint(1, 40, (600, 12), generator=generator)
    )
    fact = measured(TensorDataset(words[:400], y[:400]), TensorDataset(words[400:], y[400:])).facts["data.simple"]
    counts = np.apply_along_axis(np.bincount, 1, words.numpy(), minlength=40)
    expected = MultinomialNB().fit(counts[:400], y[:400]).score(counts[400:], y[400:])
    assert 0.5 < expected < 0.99
    assert (fact["model"], fact["accuracy"]) == ("words", pytest.approx(expected, abs=0.011))


def test_copies_of_training_rows_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = TensorDataset(torch.randn(600, 8, generator=generator), torch.randint(3, (600,), generator=generator))
    assert measured(noise, noise).facts["data.simple"]["accuracy"] < 0.5


def test_where_there_is_nothing_to_compare_it_says_so() -> None:
    tables = TensorDataset(torch.arange(2000).reshape(200, 5, 2) % 9, torch.arange(200) % 3)
    for train, val in ((rings(100, 0), None), (tables, tables), (rings(30, 0), rings(30, 1))):
        record = measured(train, val)
        assert "data.simple" not in record.facts
        assert "no 50 validation rows" in record.missing["data.simple"]


def test_what_stands_where_tells_as_much_as_to_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(6, (700, 12), generator=generator)
    y = torch.where(torch.rand(700, generator=generator) < 0.7, (x[:, 0] + x[:, 5]) % 3, x[:, 11] % 3)
    train, val = TensorDataset(x[:500], y[:500]), TensorDataset(x[500:], y[500:])
    fact = measured(train, val).facts["data.simple"]
    model = CategoricalNB().fit(x[:500].numpy(), y[:500].numpy())
    assert (fact["model"], fact["trained"], fact["accuracy"]) == ("places", 500, model.score(x[500:].numpy(), y[500:].numpy()))
    unseen = by_places(x[:500].numpy(), np.full((2, 12), 99), y[:500].numpy())
    assert (unseen == y[:500].bincount().argmax().item()).all()
