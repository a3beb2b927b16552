from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.measure.lone_softmax import lone_softmax


class Pool(nn.Module):
    """Weighs the places of a sequence by a layer of ``units`` scores, along ``axis``."""

    def __init__(self, units: int, axis: int, bias: bool = True) -> None:
        super().__init__()
        self.score, self.axis = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, units, bias=bias)), axis

    def forward(self, x: Tensor) -> Tensor:
        scores = self.score(x).masked_fill(x[..., :1] < -2, -1e9) / 2
        return (F.softmax(scores, dim=self.axis).sum(-1, keepdim=True) * x).sum(1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("units", "axis", "shape"), [(1, -1, (3, 7, 1)), (1, 2, (3, 7, 1)), (1, 1, None), (4, -1, None)])
def test_a_pooling_over_its_only_unit(units: int, axis: int, shape: tuple[int, ...] | None, bias: bool) -> None:
    assert lone_softmax(Pool(units, axis, bias)(torch.randn(3, 7, 5)).square().mean()) == shape


def test_an_attention_over_one_token_has_one_by_chance() -> None:
    query, token = nn.Linear(5, 8), nn.Linear(5, 8)
    scores = query(torch.randn(3, 7, 5)) @ token(torch.randn(3, 1, 5)).transpose(1, 2)
    assert scores.shape == (3, 7, 1)
    assert lone_softmax(scores.softmax(-1).sum()) is None


def test_a_gate_of_one_unit() -> None:
    assert lone_softmax((nn.Linear(5, 1)(torch.randn(6, 5)).log_softmax(1)).sum()) == (6, 1)
