"""Signs in one training step that a loss is fought over: part of the network is trained to raise what another part lowers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn.functional import cosine_similarity

from diagnose.measure.graph import reached
from diagnose.measure.losses import LossCall

REVERSED = -0.999  # cosine of a gradient before and behind a function
CALLS = 3  # the maker's, and the critic's of what is real and of what is made


@contextmanager
def reversals(*losses: Tensor | None) -> Iterator[list[str]]:
    """Names of somebody's own autograd functions that turn the sign of a gradient in the backward passes meanwhile.

    >>> class Turn(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x.view_as(x)
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         return -0.3 * gradient
    >>> loss = Turn.apply(torch.ones(3, requires_grad=True)).exp().sum()
    >>> with reversals(loss) as found:
    ...     loss.backward()
    >>> found
    ['Turn']

    References:
        Y. Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR (2016), section 4.2: the gradient reversal layer.
    """
    found: list[str] = []

    def hook(name: str) -> Any:
        def look(after: Sequence[Tensor | None], before: Sequence[Tensor | None]) -> None:
            a, b = after[0], before[0]
            if a is None or b is None or a.shape != b.shape or not bool(a.any()):
                return
            if float(cosine_similarity(a.reshape(1, -1).float(), b.reshape(1, -1).float())) < REVERSED:
                found.append(name)

        return look

    own: list[Any] = [node for node in reached(*losses)[0] if isinstance(node, BackwardCFunction)]
    handles = [node.register_hook(hook(node.name().removesuffix("Backward"))) for node in own]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def opposed(calls: Sequence[LossCall]) -> bool:
    """Whether a step asks for ones of some scores and for zeros of others, as a maker and its critic do, without undoing itself.

    That is so with three such calls or more, unless the very same scores are to be one and zero and both terms train the same weights:
    then the critic is trained to be deceived.
    """
    sides: dict[bool, list[LossCall]] = {True: [], False: []}
    for call in calls:
        target = call.target
        if target is not None and target.numel() and bool((target == target.reshape(-1)[0]).all()) and target.is_floating_point():
            sides[bool(target.reshape(-1)[0] > 0.5)].append(call)
    if not all(sides.values()) or sum(map(len, sides.values())) < CALLS:
        return False
    return not any(_same(a, b) for a, b in product(sides[True], sides[False]))


def _same(a: LossCall, b: LossCall) -> bool:
    return torch.equal(a.input.detach(), b.input.detach()) and bool(reached(a.input)[1].keys() & reached(b.input)[1].keys())
