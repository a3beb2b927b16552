"""The numbers of nodes in batches of several graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from diagnose.experiments.joining import pairs_named
from diagnose.record import Record

SIZES = torch.tensor([3, 5, 4, 5, 2])
OWNER = torch.arange(5).repeat_interleave(SIZES)
X = torch.ones(19, 2)
Y = torch.ones(5)
RINGS = [torch.stack([torch.arange(n), (torch.arange(n) + 1) % n]) for n in SIZES.tolist()]
OWN = torch.cat(RINGS, 1)
SHIFTED = torch.cat([ring + start for ring, start in zip(RINGS, (SIZES.cumsum(0) - SIZES).tolist(), strict=True)], 1)
STARTS = torch.cat([torch.zeros(1, dtype=torch.long), SIZES.cumsum(0)])
SHORT = OWN[:, :17]  # a pair of nodes is missing here, or they would be as many as nodes


def found(*batches: Any) -> dict[str, Any] | None:
    record = Record()
    pairs_named(batches, record)
    facts: dict[str, Any] | None = record.facts.get("probe.joined")
    return facts


@pytest.mark.parametrize("told", [OWNER, SIZES, STARTS])
@pytest.mark.parametrize("pairs", [SHORT, SHORT.T])
def test_numbers_of_each_graph_are_found(told: Tensor, pairs: Tensor) -> None:
    facts = {"path": 'batch["pairs"]', "pairs": 17, "named": 5, "samples": 5, "parts": 19, "largest": 5, "batches": 2}
    batch = {"x": X, "pairs": pairs, "told": told, "y": Y}
    assert found(batch, {**batch, "x": X + 1}) == facts


@pytest.mark.parametrize(
    "batch",
    [
        (X, SHIFTED, OWNER, Y),
        (X, SHIFTED.T, SIZES, Y),
        (X, SHORT, OWNER, Y, OWNER[:17]),  # the graph of each pair
        (X, OWN, SIZES, Y),
        (X, OWN, OWNER, Y, SIZES),  # the number of pairs of each graph
        (X, RINGS[1], OWNER, Y),  # one graph for all
        (X, SHORT.float(), OWNER, Y),
        (X, SHORT, Y),
        (X[:9], SHORT, OWNER[:9], Y[:3]),
        (X, OWNER, Y),
    ],
)
def test_other_batches_are_healthy(batch: Any) -> None:
    assert found(batch, batch) is None


def test_one_batch_with_higher_numbers_is_enough() -> None:
    assert found((X, SHORT, OWNER, Y), (X, SHIFTED, OWNER, Y)) is None
