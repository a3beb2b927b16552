"""Whether what tells the targets apart among training rows does so in validation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.split_shift import SplitShift
from tests.experiments.odd import loaders

ROWS, TRAIN = 1200, 900


def seen(x: Tensor, y: Tensor) -> Record:
    record = Record()
    kind = "mse_loss" if y.is_floating_point() else "cross_entropy"
    loss: dict[str, Any] = {"kind": kind, "classes": 4, "input_shape": [16] if y.is_floating_point() else [16, 4], "target_shape": [16]}
    train, val = loaders(x, y)
    roles = {"batch[0]": "input", "batch[1]": "target"}
    measure_data(record, train, val, roles=roles, loss=loss | {"target_dtype": str(y.dtype).removeprefix("torch.")}, seconds=math.inf)
    return record


def table(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four classes, each about a corner of its own."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (ROWS,), generator=draw)
    return 4 * torch.eye(4)[y] + torch.randn(ROWS, 4, generator=draw), y


def texts(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of ten words of which a third is of the class, the others of all; 0 is padding."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (ROWS,), generator=draw)
    own = 20 * y[:, None] + torch.randint(1, 21, (ROWS, 10), generator=draw)
    words = torch.where(torch.rand(ROWS, 10, generator=draw) < 0.3, own, torch.randint(81, 200, (ROWS, 10), generator=draw))
    return torch.where(torch.arange(10) < torch.randint(5, 11, (ROWS, 1), generator=draw), words, 0), y


def other_ids(words: Tensor) -> Tensor:
    """The same texts by a vocabulary of their own."""
    ids = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(199, generator=torch.Generator().manual_seed(5))])
    return ids[words]


def findings(record: Record) -> list[str]:
    return [f.message for f in run(SplitShift(), record, strict=True).findings if f.severity.value != "info"]


@pytest.mark.parametrize(("make", "model"), [(table, "nearest"), (texts, "words")])
def test_a_sound_split_carries_over(make: Any, model: str) -> None:
    record = seen(*make())
    fact = record.facts["data.transfer"]
    assert (fact["model"], fact["rows"]) == (model, [225, 256])
    assert fact["inside"] > 0.8
    assert fact["held"] == pytest.approx(fact["inside"], abs=0.1)
    assert findings(record) == []


@pytest.mark.parametrize("make", [table, texts])
def test_classes_that_validation_numbers_otherwise_are_named(make: Any) -> None:
    x, y = make()
    moved = torch.where(torch.arange(ROWS) < TRAIN, y, torch.tensor([1, 2, 3, 0])[y])
    (said,) = findings(seen(x, moved))
    assert said.startswith(
        "the classes of validation are numbered otherwise than those of training (0 is 3 there, 1 is 0 there, 2 is 1 there"
    )


@pytest.mark.parametrize("make", [table, texts])
def test_two_classes_that_change_places_in_validation_are_named(make: Any) -> None:
    x, y = make()
    moved = torch.where(torch.arange(ROWS) < TRAIN, y, torch.tensor([0, 3, 2, 1])[y])
    (said,) = findings(seen(x, moved))
    assert said.startswith("the classes of validation are numbered otherwise than those of training (1 is 3 there, 3 is 1 there)")


def test_classes_that_are_mistaken_for_each_other_are_left_alone() -> None:
    """Two of four classes stand about one corner: half of each is recognised as the other, in training as well."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (ROWS,), generator=draw)
    x = 4 * torch.eye(4)[torch.tensor([0, 1, 2, 2])[y]] + torch.randn(ROWS, 4, generator=draw)
    record = seen(x, y)
    assert record.facts["data.transfer"]["inside"] > 0.5
    assert findings(record) == []


def test_a_vocabulary_for_each_split_is_found() -> None:
    words, y = texts()
    (said,) = findings(seen(torch.cat([words[:TRAIN], other_ids(words[TRAIN:])]), y))
    assert said.startswith("what goes with the targets in training does not in validation: naive Bayes of the training rows' words")


@pytest.mark.parametrize("values", [False, True])
def test_validation_targets_in_another_order_than_their_inputs_are_found(values: bool) -> None:
    x, y = table()
    y = x[:, 0] + 0.1 * x[:, 1] if values else y
    shuffled = TRAIN + torch.randperm(ROWS - TRAIN, generator=torch.Generator().manual_seed(1))
    (said,) = findings(seen(x, torch.cat([y[:TRAIN], y[shuffled]])))
    assert "the five nearest training rows give" in said


def test_rows_that_lie_elsewhere_and_inputs_that_tell_nothing_are_not_accused() -> None:
    x, y = table()
    away = torch.cat([x[:TRAIN], 3 * torch.randn(ROWS - TRAIN, 4, generator=torch.Generator().manual_seed(2))])
    far = seen(away, y).facts["data.transfer"]
    assert far["apart"] > 1.5
    assert findings(seen(torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(3)), y)) == []


def test_two_classes_as_real_numbers_are_classes() -> None:
    """As binary cross-entropy takes them."""
    x, y = table()
    two = (y % 2).float()
    record = Record()
    loss = {"kind": "binary_cross_entropy_with_logits", "classes": 2, "input_shape": [16], "target_shape": [16], "target_dtype": "float32"}
    for moved in (False, True):
        train, val = loaders(x, torch.where(torch.arange(ROWS) < TRAIN, two, 1 - two) if moved else two)
        measure_data(record, train, val, roles={"batch[0]": "input", "batch[1]": "target"}, loss=loss, seconds=math.inf)
        fact = record.facts["data.transfer"]
        assert fact["inside"] > 0.8
        assert fact["renumbered"] > 0.8
        assert (fact["held"] < -0.8) is moved
        assert ["numbered otherwise" in said for said in findings(record)] == [True] * moved


def test_naive_bayes_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.naive_bayes import MultinomialNB

    words, y = texts()
    record = Record()
    train, val = loaders(words, y)
    order = torch.utils.data.DataLoader(train.dataset, batch_size=16)
    loss = {"kind": "cross_entropy", "classes": 4, "input_shape": [16, 4], "target_shape": [16], "target_dtype": "int64"}
    measure_data(record, order, val, roles={"batch[0]": "input", "batch[1]": "target"}, loss=loss, seconds=math.inf)
    counts = np.stack([np.bincount(row, minlength=200)[1:] for row in words.numpy()])
    known = np.arange(TRAIN) % 4 != 3
    model = MultinomialNB().fit(counts[:TRAIN][known], y[:TRAIN][known])
    expected = []
    for part, truth in ((counts[:TRAIN][~known], y[:TRAIN][~known].numpy()), (counts[TRAIN:], y[TRAIN:].numpy())):
        part, truth = (rows[np.linspace(0, len(rows) - 1, min(len(rows), 256)).astype(int)] for rows in (part, truth))
        expected.append(balanced_accuracy_score(truth, model.predict(part), adjusted=True))
    fact = record.facts["data.transfer"]
    assert [fact["inside"], fact["held"]] == pytest.approx(expected, abs=0.02)
