"""Dropout that is written by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diagnose.experiments.watch_step import WatchStep

torch.manual_seed(0)
FIRST, LAST = nn.Linear(20, 64), nn.Linear(64, 4)
TOKEN = nn.Parameter(torch.ones(64))
X = torch.randn(32, 5, 20)


def found(drop: Callable[[Tensor], Tensor]) -> list[tuple[float, int]]:
    """Rounded shares of zeros, and units, of what is put between two layers."""
    torch.manual_seed(0)
    with WatchStep() as watch:
        output = LAST(drop(FIRST(X)))
    return [(round(p, 1), units) for p, units in watch.masked.found(output)]


def bernoulli(h: Tensor) -> Tensor:
    mask = h.new_empty(len(h), 1, 64).bernoulli_(0.1)
    return h * mask / 0.1


def in_place(h: Tensor) -> Tensor:
    keep = torch.rand_like(h[:, :1]) < 0.1
    h = h.clone()
    h[~keep.expand_as(h)] = 0
    return h


def sampled(h: Tensor) -> Tensor:
    mask: Tensor = torch.distributions.Bernoulli(0.1).sample((len(h), 1, 64))  # type: ignore[no-untyped-call]
    return h * mask


@pytest.mark.parametrize(
    ("drop", "units"),
    [
        (bernoulli, 64),
        (in_place, 5),
        (sampled, 64),
        (lambda h: h * ((0.1 + torch.rand(32, 1, 64)).floor_() / 0.1), 64),
        (lambda h: (torch.rand(32, 1, 64) < 0.1).float().div(0.1) * h, 64),
        (lambda h: h.masked_fill(torch.rand_like(h) > 0.1, 0.0), 5),
        (lambda h: torch.where(torch.rand(32, 1, 64) < 0.9, torch.zeros_like(h), h), 64),
        (lambda h: h * nn.functional.dropout(torch.ones(32, 1, 64), 0.9), 64),
    ],
)
def test_ways_to_write_it(drop: Callable[[Tensor], Tensor], units: int) -> None:
    assert found(drop) == [(0.9, units)]


def zoneout(h: Tensor) -> Tensor:
    mask = torch.empty(32, 1, 64).bernoulli_(0.1)
    return mask * h + (1 - mask) * h.roll(1, 1)


def masked_token(h: Tensor) -> Tensor:
    mask = (torch.rand(32, 5, 64) < 0.1).float()
    return h * mask + (1 - mask) * TOKEN


@pytest.mark.parametrize(
    "drop",
    [
        zoneout,
        masked_token,
        lambda h: h * (torch.rand(32, 5, 1) < 0.1),  # whole tokens
        lambda h: h * (torch.rand(32, 1, 1) < 0.1),  # whole samples, as stochastic depth
        lambda h: h * torch.bernoulli(h.sigmoid().detach()),  # decisions
        lambda h: h * (torch.rand_like(h) < 0.3 * h.detach()),
        lambda h: h + 0.1 * torch.randn_like(h),  # noise
        lambda h: h.relu() * (h > 1),
        lambda h: h * (torch.arange(64) % 8 == 0),  # a mask that is not drawn
        lambda h: FIRST(X * (torch.rand(32, 1, 20) < 0.1)),  # of the input
    ],
)
def test_other_masks_and_noise(drop: Callable[[Tensor], Tensor]) -> None:
    assert found(drop) == []


def test_a_mask_behind_the_last_layer_is_of_the_loss() -> None:
    with WatchStep() as watch:
        output = LAST(FIRST(X))
        ((output - 1) ** 2 * (torch.rand_like(output) < 0.1)).mean()
        output = output * (torch.rand_like(output) < 0.1)
    assert watch.masked.found(output) == []
