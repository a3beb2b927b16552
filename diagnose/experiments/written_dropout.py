"""Dropout that is written by hand: a mask drawn at random in the step, put over computed values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.functional_dropout import DROPOUTS
from diagnose.measure.graph import MATMUL, RECURRENT, reached

DRAWN = frozenset("rand rand_like randn randn_like randint randint_like uniform normal random bernoulli".split())
ENTRIES = 100  # of a mask of fewer the share of zeros says too little


class WrittenDropout:
    """Follows what is drawn at random, and what is made of that and of constants alone, to the masks that are put over something.

    A mask whose probabilities were computed is a decision and no dropout, and so is one whose counterpart is used too: it mixes two things.
    """

    def __init__(self) -> None:
        self.drawn: dict[int, Tensor] = {}  # by address; kept, so that no address is used again
        self.masks: list[tuple[Any, Tensor]] = []  # node of the graph, if the values were computed; where the mask sets zeros

    def see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Look at one call of a function and what it gave."""
        name = getattr(func, "__name__", "").strip("_")
        draws = name in DRAWN or func in DROPOUTS
        if not self.drawn and not draws:
            return
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        if not draws and not any(map(self._known, given)):
            return
        if name == "mul" and len(given) == 2:
            for mask, other in (given, given[::-1]):
                if self._known(mask):
                    self._put(mask, other, result)
        elif name == "masked_fill" and len(given) > 1 and self._known(given[1]) and _zero(args[-1]):
            self._put(given[1] == 0, given[0], result)
        elif name == "setitem" and isinstance(args[1], Tensor) and self._known(args[1]) and _zero(args[2]):
            self._put(args[1] == 0, args[0], args[0])
        elif name == "where" and len(args) == 3 and self._known(given[0]) and given[0] is args[0] and any(map(_zero, args[1:])):
            first = _zero(args[1])
            self._put(args[0] == 0 if first else args[0], args[2 if first else 1], result)
        if isinstance(result, Tensor) and result.layout is torch.strided and not result.is_nested and not result.requires_grad:
            made_of = [t for t in given if not (draws and (name.startswith("rand") or t is result))]  # of those only the shape counts
            if result.numel() and all(self._known(t) or _constant(t) for t in made_of):
                self.drawn[result.data_ptr()] = result

    def found(self, output: Tensor) -> list[tuple[float, int]]:
        """Share of zeros and number of units of each mask that stands before a layer on the way to ``output``."""
        every, last = (set(reached(output, without=w)[0]) for w in (frozenset[str](), MATMUL | RECURRENT))
        kept: list[Tensor] = []
        for node, zero in self.masks:
            inside = node in every - last and zero.numel() >= ENTRIES and units_of(zero.shape) > 1
            if inside and not any(_equal(zero, ~z) for _, z in self.masks) and not any(_equal(zero, z) for z in kept):
                kept.append(zero)
        return [(float(zero.float().mean()), units_of(zero.shape)) for zero in kept]

    def _known(self, tensor: Tensor) -> bool:
        return tensor.layout is torch.strided and not tensor.is_nested and tensor.numel() > 0 and tensor.data_ptr() in self.drawn

    def _put(self, mask: Tensor, values: Any, result: Any) -> None:
        """Note a mask of zeros and one other value; whether its counterpart is put over something counts also for constants."""
        if not isinstance(values, Tensor) or mask.is_complex() or mask.requires_grad:
            return
        zero = mask == 0
        if bool(zero.any()) and bool(mask.max() > 0) and bool((zero | (mask == mask.max())).all()):
            computed = isinstance(result, Tensor) and values.grad_fn is not None
            self.masks.append((result.grad_fn if computed else None, zero))


def units_of(shape: Sequence[int]) -> int:
    """How many units of a sample a mask of this shape chooses from, as far as the next layer sums over them; 0 where it drops all of them.

    Channels of images, the last axis or the shortest one else. Axes of one are shared: by the steps, the places, or the samples.

    >>> units_of((32, 1, 64)), units_of((1, 32, 64)), units_of((32, 16, 1, 1)), units_of((32, 9, 16))
    (64, 64, 16, 9)
    >>> units_of((32, 9, 1)), units_of((32, 1, 8, 8)), units_of((32, 1))
    (0, 0, 0)
    """
    if len(shape) < 2 or shape[1 if len(shape) > 3 else -1] == 1:
        return 0
    if len(shape) > 3:
        return shape[1]
    own = shape[2:] if len(shape) == 3 and shape[0] == 1 else shape[1:]
    return min(n for n in own if n > 1)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.device == other.device and torch.equal(one, other)


def _zero(value: Any) -> bool:
    return value.numel() > 0 and not bool(value.any()) if isinstance(value, Tensor) else isinstance(value, (int, float)) and value == 0


def _constant(tensor: Tensor) -> bool:
    return tensor.numel() < 2 or bool((tensor.detach() == tensor.detach().flatten()[0]).all())
