"""Classes that each batch numbers anew."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record


def seen(y: Tensor, collate: Any = None, batch: int = 8) -> dict[str, Any] | None:
    x = torch.randn(len(y), 4, generator=torch.Generator().manual_seed(1))
    loss = {"kind": "cross_entropy", "classes": 12, "input_shape": [batch, 12], "target_shape": [batch], "target_dtype": "int64"}
    record = Record()
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True, collate_fn=collate)
    measure_data(record, loader, None, roles={"batch[0]": "input", "batch[1]": "target"}, loss=loss, seconds=math.inf)
    return record.facts.get("data.numbering")


def anew(rows: list[Any]) -> tuple[Tensor, Tensor]:
    names = sorted({int(y) for _, y in rows})
    return torch.stack([x for x, _ in rows]), torch.tensor([names.index(int(y)) for _, y in rows])


def test_a_collate_function_that_numbers_anew_is_told_from_one_that_does_not() -> None:
    y = torch.randint(0, 12, (400,), generator=torch.Generator().manual_seed(0))
    found, sound = seen(y, anew), seen(y)
    assert found is not None
    assert sound is not None
    assert (found["whole"], found["classes"]) == (1.0, 8)
    assert found["batches"] >= 30
    assert found["expected"] < 0.5
    assert sound["whole"] < 0.1


@pytest.mark.parametrize("rare", [False, True])
def test_pairs_of_a_batch_and_classes_sorted_by_frequency_are_no_sign(rare: bool) -> None:
    """Each row its own class, as in contrasts; or the last classes hardly ever occur."""
    if rare:
        often = torch.tensor([0.5, 0.3, 0.15, 0.03, 0.02])
        found = seen(torch.multinomial(often, 400, replacement=True, generator=torch.Generator().manual_seed(0)), batch=32)
        assert found is None or found["whole"] < 1 or found["expected"] > 0.5
    else:
        assert seen(torch.arange(400) % 8, lambda rows: (torch.stack([x for x, _ in rows]), torch.arange(len(rows)))) is None
