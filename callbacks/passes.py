"""The backward passes of one batch under manual optimisation, and what they differentiate of the loss calls before them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diagnose.measure.losses import LossCall


def share(backward: Sequence[Tensor], seen: Sequence[int], call: LossCall, calls: Sequence[LossCall], scale: float) -> Tensor | None:
    """The loss that was differentiated over the loss that was watched, or ``None`` where that is not known.

    Known of one pass, and of several that each follow one call of the same loss function, as where graphs are run one by one.

    Args:
        backward: What each pass differentiates.
        seen: How many loss calls there were before each of them.
        call: The call that the step is judged by.
        calls: All loss calls of the step.
        scale: What a scaler has multiplied the loss by.
    """
    watched = [call] if len(backward) == 1 else list(calls) if alike(seen, calls) else []
    values = [c.value for c in watched if c.value is not None and c.options.get("reduction") != "sum"]  # sums add up to the sum
    if not backward or len(values) != len(backward):
        return None
    device = backward[0].device
    over = torch.stack([b.reshape(()) for b in backward]).sum() / scale
    return over / torch.stack([v.detach().reshape(-1).mean().to(device) for v in values]).sum()


def alike(seen: Sequence[int], calls: Sequence[LossCall]) -> bool:
    """Whether each pass follows one call of its own, all of one loss function and of outputs of one size."""
    kinds = {(c.kind, c.input.shape[-1:], c.target is None) for c in calls}
    return list(seen) == [i + 1 for i in range(len(calls))] and len(kinds) == 1
