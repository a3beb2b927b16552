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


HELD = {"path": 'batch["y"]', "kind": "cross_entropy", "classes": 3, "ignore_index": -100, "weightless": []}


def held_out(mine: list[dict[str, Tensor]], theirs: list[dict[str, Tensor]], **changes: Any) -> dict[str, Any] | None:
    record = Record()
    roles = {'batch["x"]': "input", 'batch["y"]': "target"}
    measure_data(record, loader(mine), loader(theirs), roles=roles, loss=LOSS, held={**HELD, **changes}, seconds=math.inf)
    return record.facts.get("data.filled")


def longer(rows: list[dict[str, Tensor]], size: int, label: int = 0) -> list[dict[str, Tensor]]:
    fill = {"x": 0, "y": label}
    return [{k: torch.cat([v, torch.full((size - len(v), *v.shape[1:]), fill[k], dtype=v.dtype)]) for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("kind", ["tokens", "values"])
def test_padding_that_validation_counts_more_often_is_measured(kind: str) -> None:
    mine, theirs = sentences(128, 0, kind, 1), longer(sentences(64, 0, kind, 2), 60)
    found = held_out(mine, theirs)
    assert found is not None
    assert (found["path"], found["value"], found["label"]) == ('batch["x"]', 0, 0)
    words = sum(int((row["x"] != 0).reshape(60, -1).any(1).sum()) for row in theirs)
    assert found["share"] == 1 - words / (60 * 64)
    assert held_out(mine, theirs, weightless=[0]) is None
    assert held_out(mine, theirs, ignore_index=0) is None
    assert held_out(mine, longer(sentences(64, -100, kind, 2), 60, -100)) is None
    whole = [{k: v[:5] for k, v in row.items()} for row in mine]
    assert held_out(whole, theirs) == found  # training has none


def test_a_class_at_the_ends_is_no_padding() -> None:
    mine, theirs = sentences(128, 0, "tokens", 1), longer(sentences(64, 0, "tokens", 2), 60)
    assert held_out(mine, theirs) is not None
    paused = [{k: torch.where(torch.arange(20) == 2, 0, v) for k, v in row.items()} for row in mine]
    assert held_out(paused, theirs) is None  # the token stands within the rows of training
    other = [{**row, "y": torch.where(row["x"] == 0, 1, row["y"])} for row in mine]
    assert held_out(other, theirs) is None  # training has another class there
    alone = longer([{k: v[:5] for k, v in row.items()} for row in sentences(64, 0, "tokens", 2)], 60)
    assert held_out(mine, alone) is None  # all of one length
    noise = [{**row, "x": torch.where(row["x"] == 0, 31, row["x"]) + torch.arange(60) % 3} for row in theirs]
    assert held_out(mine, noise) is None  # the ends of the inputs differ


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
