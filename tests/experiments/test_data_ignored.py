"""Targets whose padding is one of the classes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

ROWS, LENGTH, CLASSES = 64, 12, 5


def seen(tokens: Tensor, tags: Tensor, ignore: int = 0) -> dict[str, Any] | None:
    loss = {"kind": "cross_entropy", "classes": CLASSES, "input_shape": [96, CLASSES], "target_shape": [96], "target_dtype": "int64"}
    record = Record()
    loader = DataLoader(TensorDataset(tokens, tags), batch_size=8)
    roles = {"batch[0]": "input", "batch[1]": "target"}
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
    assert found["ends"] >= int((~within).sum())
    assert 0.1 < found["share"] < 1 / CLASSES  # those at an end may be padding


def test_padding_of_its_own_is_none() -> None:
    words, tags, within = sentences(1)
    assert seen(words, tags) is None
    assert seen(words, torch.where(within, tags, -100), -100) is None


def test_separators_of_a_text_whose_next_word_is_the_target_are_none() -> None:
    text = torch.randint(0, CLASSES, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    assert seen(text[:, :-1], text[:, 1:]) is None
