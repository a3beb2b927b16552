"""Targets whose padding is one of the classes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

ROWS, LENGTH, CLASSES = 64, 12, 5


def seen(tokens: Tensor, tags: Tensor, ignore: int = 0, mask: Tensor | None = None) -> dict[str, Any] | None:
    loss = {"kind": "cross_entropy", "classes": CLASSES, "input_shape": [96, CLASSES], "target_shape": [96], "target_dtype": "int64"}
    record = Record()
    loader = DataLoader(TensorDataset(*((tokens, tags) if mask is None else (tokens, tags, mask))), batch_size=8)
    roles = {"batch[0]": "input", "batch[1]": "target", "batch[2]": "input"}
    measure_data(record, loader, None, roles=roles, loss={**loss, "ignore_index": ignore}, seconds=math.inf)
    return record.facts.get("data.ignored")


def sentences(least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Words, their tags from ``least`` on, and which places are no padding."""
    random = torch.Generator().manual_seed(0)
    words = torch.randint(1, 40, (ROWS, LENGTH), generator=random)
    tags = torch.randint(least, CLASSES, (ROWS, LENGTH), generator=random)
    within = torch.arange(LENGTH) < torch.randint(6, LENGTH + 1, (ROWS, 1), generator=random)
    return words * within, tags * within, within


def test_a_tag_that_is_the_padding_too_is_counted_inside_of_the_sentences() -> None:
    words, tags, within = sentences(0)
    found = seen(words, tags)
    assert found is not None
    assert (found["value"], found["ends"] + found["inside"]) == (0, int((tags == 0).sum()))
    assert found["ends"] == int((~within).sum())
    assert found["share"] == pytest.approx(1 / CLASSES, abs=0.02)
    without = torch.randn(ROWS, LENGTH, 3)  # and nothing tells which places are padding
    found = seen(without, tags)
    assert found is not None
    assert found["ends"] >= int((~within).sum())
    assert 0.1 < found["share"] < 1 / CLASSES


def test_padding_of_its_own_is_none() -> None:
    words, tags, within = sentences(1)
    assert seen(words, tags) is None
    assert seen(words, torch.where(within, tags, -100), -100) is None


def test_separators_of_a_text_whose_next_word_is_the_target_are_none() -> None:
    text = torch.randint(0, CLASSES, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    assert seen(text[:, :-1], text[:, 1:]) is None


def test_a_tag_that_is_the_padding_too_is_counted_around_what_is_scored() -> None:
    words, tags, within = sentences(1)
    two = (torch.arange(LENGTH) >= 2) & (torch.arange(LENGTH) < 4)
    found = seen(words, tags * two)  # two scored places that follow each other in each sentence
    assert found == {"value": 0, "inside": int((within & ~two).sum()), "ends": int((~within).sum()), "share": pytest.approx(0.77, abs=0.01)}
    assert seen(words, tags * two, mask=within.long()) == found
    assert seen(torch.where(within & ~two, 39, words), tags * two) is None  # signs for the begin and the end, say


def test_words_of_the_input_that_are_not_to_be_told_are_none() -> None:
    words, _, within = sentences(1)
    words = words % (CLASSES - 1) + 1
    told = torch.rand(ROWS, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.3
    assert seen(words * within, words * within * told) is None
