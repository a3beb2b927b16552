"""Collate functions that give inputs and targets in different orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

Item = tuple[Tensor, int]
LOSS = {"kind": "cross_entropy", "classes": 4, "input_shape": [16, 4], "target_shape": [16], "target_dtype": "int64"}


def items(n: int = 120) -> list[Item]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 12, (n,), generator=generator).tolist()
    return [(torch.randn(length, 2, generator=generator), i * 7 % 4) for i, length in enumerate(lengths)]


def ordered(part: list[Item]) -> list[Item]:
    return sorted(part, key=lambda item: -len(item[0]))


def sorted_alone(part: list[Item]) -> Any:
    return pad_sequence([x for x, _ in ordered(part)], batch_first=True), torch.tensor([y for _, y in part])


def sorted_together(part: list[Item]) -> Any:
    return sorted_alone(ordered(part))


def time_first(part: list[Item]) -> Any:
    return pad_sequence([x for x, _ in ordered(part)]), torch.tensor([y for _, y in part])


def with_its_order(part: list[Item]) -> Any:
    order = sorted(range(len(part)), key=lambda i: -len(part[i][0]))
    return *sorted_alone(part), torch.tensor(order)


def beside_negatives(part: list[Item]) -> Any:
    x = pad_sequence([x for x, _ in part], batch_first=True)
    return x, torch.tensor([y for _, y in part]), x.roll(1, 0)


def mixed(part: list[Item]) -> Any:
    x = pad_sequence([x for x, _ in part], batch_first=True)
    return x + x.roll(1, 0), torch.tensor([y for _, y in part])


def fact(collate: Callable[[list[Item]], Any], loss: dict[str, Any] = LOSS) -> dict[str, Any] | None:
    record, data = Record(), items()
    loader: DataLoader[Any] = DataLoader(data, batch_size=16, collate_fn=collate)  # type: ignore[arg-type]
    roles = {"batch[0]": "input", "batch[1]": "target", "batch[2]": "input"}
    measure_data(record, loader, None, roles=roles, loss=loss, seconds=math.inf)
    return record.facts.get("data.collated")


@pytest.mark.parametrize("collate", [sorted_alone, time_first])
def test_rows_that_stand_beside_other_targets_are_counted(collate: Callable[[list[Item]], Any]) -> None:
    found = fact(collate)
    assert found is not None
    assert (found["input"], found["target"], found["rows"]) == ("batch[0]", "batch[1]", 24)
    data, numbers = items(), torch.randperm(120, generator=torch.Generator().manual_seed(0))[:24].tolist()
    expected = sum(a[1] != b[1] for a, b in zip([data[i] for i in numbers], ordered([data[i] for i in numbers]), strict=True))
    assert found["apart"] == expected > 10


@pytest.mark.parametrize("collate", [sorted_together, with_its_order, beside_negatives, mixed])
def test_one_order_or_one_that_is_told_or_rows_that_are_not_known_again_are_none(collate: Callable[[list[Item]], Any]) -> None:
    assert fact(collate) is None
