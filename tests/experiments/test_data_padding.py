"""Places of the input that training ignores and validation scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.suspicious_validation import SuspiciousValidation

LOSS: dict[str, Any] = {"kind": "cross_entropy", "classes": 3, "input_shape": [160, 3], "target_shape": [160], "target_dtype": "int64"}
LOSS |= {"ignore_index": -100}


def sentences(rows: int, label: int, kind: str, seed: int) -> list[dict[str, Tensor]]:
    """Padded rows of twenty tokens, of which five to fifteen are words; the padding has this label."""
    made, out = torch.Generator().manual_seed(seed), []
    for _ in range(rows):
        words = torch.arange(20) < int(torch.randint(5, 16, (1,), generator=made))
        ids = torch.where(words, torch.randint(1, 30, (20,), generator=made), torch.zeros(()).long())
        x = {"tokens": ids, "values": torch.where(words[:, None], torch.randn(20, 4, generator=made), 0.0), "mask": ids + 0}[kind]
        row = {"x": x, "y": torch.where(words, ids % 3, torch.full((), label))}
        if kind == "mask":
            row = {"x": torch.where(words, ids, torch.randint(1, 30, (20,), generator=made)), "attention": words.long(), "y": row["y"]}
        out.append(row)
    return out


def loader(rows: list[dict[str, Tensor]]) -> DataLoader[Any]:
    return DataLoader(rows, batch_size=16)  # type: ignore[arg-type]


def seen(kind: str, mine: int, theirs: int) -> Record:
    record = Record()
    train, val = (sentences(rows, label, kind, rows) for rows, label in ((128, mine), (64, theirs)))
    roles = {f'batch["{name}"]': "target" if name == "y" else "input" for name in train[0]}
    measure_data(record, loader(train), loader(val), roles=roles, loss=LOSS, seconds=math.inf)
    return record


@pytest.mark.parametrize("kind", ["tokens", "values", "mask"])
def test_padding_that_validation_alone_scores_is_found(kind: str) -> None:
    record = seen(kind, -100, 0)
    fact = record.facts["data.padding"]
    assert (fact["value"], fact["known"], fact["label"], fact["agree"]) == (0, 1.0, 0, 1.0)
    assert fact["path"] == ('batch["attention"]' if kind == "mask" else 'batch["x"]')
    assert 0.4 < fact["share"] < 0.6
    (found,) = run(SuspiciousValidation(), record, strict=True).findings
    assert "with the target 0; training ignores its" in found.message


@pytest.mark.parametrize("kind", ["tokens", "values", "mask"])
@pytest.mark.parametrize(("mine", "theirs"), [(-100, -100), (0, 0), (0, -100)])
def test_padding_that_both_treat_alike_or_training_alone_scores_is_healthy(kind: str, mine: int, theirs: int) -> None:
    assert "data.padding" not in seen(kind, mine, theirs).facts


@pytest.mark.parametrize("kind", ["tokens", "values"])
def test_padding_that_the_loss_counts_is_measured(kind: str) -> None:
    found, sound = seen(kind, 0, 0).facts, seen(kind, -100, -100).facts
    assert (found["data.counted"]["value"], found["data.counted"]["label"], found["data.counted"]["path"]) == (0, 0, 'batch["x"]')
    assert 0.4 < found["data.counted"]["share"] < 0.6
    assert "data.counted" not in sound


def test_words_that_are_left_out_by_chance_are_healthy() -> None:
    rows = [sentences(n, -100, "tokens", n) for n in (128, 64)]
    for n, part in enumerate(rows):  # as a masked language model asks for some of its words, other ones each time
        for i, row in enumerate(part):
            asked = torch.rand(20, generator=torch.Generator().manual_seed(1000 * n + i)) < 0.15
            row["y"] = torch.where(asked, row["y"], torch.full((), -100))
    record = Record()
    train, val = (loader(part) for part in rows)
    measure_data(record, train, val, roles={'batch["x"]': "input", 'batch["y"]': "target"}, loss=LOSS, seconds=math.inf)
    assert "data.padding" not in record.facts
