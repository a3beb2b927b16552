"""What a limit leaves of gradients: how long they still are, and how many of their entries lie at the largest of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

AT_BOUND = 0.999  # of the largest entry of a tensor


class Left(NamedTuple):
    """Single numbers on a device.

    Attributes:
        after, before: 2-norm of the gradients as an optimizer gets them, and as they were, of the entries of which it gets anything.
        bound, entries: How many sampled entries are as large as the largest of their tensor, and how many are not 0.
    """

    after: Tensor
    before: Tensor
    bound: Tensor
    entries: Tensor


def left_of(before: Sequence[Tensor], after: Sequence[Tensor], sizes: Sequence[int], shrunk: Sequence[Tensor | None]) -> Left:
    """What is left of gradients of which the same entries were sampled before and after.

    Args:
        before: Sampled entries of each gradient as it was, in one dimension.
        after: The same entries as they are.
        sizes: How many entries each of them has.
        shrunk: Of each the norms after and before what hooks did to it earlier, if there were any.

    >>> given = torch.tensor([3.0, -0.5, 4.0, 2.0])
    >>> left = left_of([given], [torch.tensor([1.0, -0.5, 1.0, 0.0])], [4], [None])
    >>> [round(float(number), 4) for number in left]
    [1.5, 5.0249, 2.0, 3.0]
    """
    lengths = [len(entries) for entries in after]
    old, new = torch.cat(list(before)), torch.cat(list(after))
    here = new != 0
    new = new.abs()
    tops = torch._foreach_norm(list(torch.split(new, lengths)), float("inf"))
    highest = torch.cat([top.expand(n) for top, n in zip(tops, lengths, strict=True)])
    norms = [torch.stack(list(torch._foreach_norm(list(torch.split(v * here, lengths)), 2))) for v in (new, old)]
    more = torch.tensor([size / length for size, length in zip(sizes, lengths, strict=True)], device=new.device).sqrt()
    now, then = norms[0] * more, norms[1] * more
    if any(s is not None for s in shrunk):
        factors = [torch.ones((), device=new.device) if s is None else s[1] / s[0].clamp(min=1e-38) for s in shrunk]
        then = then * torch.stack(factors)
    bound = ((new >= AT_BOUND * highest) & here).sum()
    return Left(now.norm(), then.norm(), bound.float(), here.sum().float())
