"""Players in one loss: gradients turned round, and scores that are to be one here and zero there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.measure.adversary import opposed, reversals
from diagnose.measure.watched_losses import watch_losses


class Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return ctx.factor * gradients[0], None


@pytest.mark.parametrize(("factor", "found"), [(-1.0, ["Turned"]), (-0.1, ["Turned"]), (1.0, []), (0.5, []), (0.0, [])])
def test_a_function_that_turns_gradients_round_is_named(factor: float, found: list[str]) -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    loss = Turned.apply(net(torch.randn(8, 4)), factor).square().sum()  # type: ignore[no-untyped-call]
    with reversals(loss, None) as seen:
        loss.backward()
    assert seen == found


def test_a_plain_minus_turns_no_gradient_round() -> None:
    loss = (-torch.ones(3, requires_grad=True)).exp().sum()
    with reversals(loss) as seen:
        loss.backward()  # type: ignore[no-untyped-call]
    assert seen == []


def played(maker: nn.Module, critic: nn.Module, *, frozen: bool = False, detached: bool = True, terms: int = 3) -> bool:
    """A step of a game whose losses are added up; the critic may be kept out of the maker's term."""
    torch.manual_seed(0)
    made, real = maker(torch.randn(8, 4)), torch.randn(8, 2)
    one, zero = torch.ones(8, 1), torch.zeros(8, 1)
    with watch_losses() as watch:
        if terms == 3:
            critic.requires_grad_(not frozen)
            F.binary_cross_entropy_with_logits(critic(made), one)
            critic.requires_grad_(True)
        F.binary_cross_entropy_with_logits(critic(real), one)
        F.binary_cross_entropy_with_logits(critic(made.detach() if detached else made), zero)
    return opposed(watch.calls)


def test_a_game_in_one_loss_is_seen_unless_it_undoes_itself() -> None:
    maker, critic = nn.Linear(4, 2), nn.Linear(2, 1)
    assert played(maker, critic, frozen=True)
    assert not played(maker, critic)  # the critic is to call the same rows real and made
    assert not played(maker, critic, detached=False)
    assert not played(maker, critic, terms=2)  # pairs alike and pairs apart


def test_labels_of_both_kinds_are_no_game() -> None:
    with watch_losses() as watch:
        for _ in range(4):
            F.binary_cross_entropy_with_logits(torch.randn(6, requires_grad=True), torch.tensor([0.0, 1, 1, 0, 1, 0]))
    assert not opposed(watch.calls)
