"""The losses of a step while it runs: calls of torch's functions, or the same written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from diagnose.measure.calls import transformed
from diagnose.measure.losses import LOSSES, LossCall, primary
from diagnose.measure.plain import plain
from diagnose.measure.written_losses import WrittenLosses


class WatchLosses(TorchFunctionMode):
    """Collects the losses of a step while it is entered.

    Args:
        written: Whether to look for losses written by hand as well, which only a step with gradients shows.

    Attributes:
        calls: Calls of the loss functions of torch.
        written: What is known of losses written by hand, until there is a loss to look behind.
    """

    def __init__(self, written: bool = True) -> None:
        super().__init__()
        self.calls: list[LossCall] = []
        self.written = WrittenLosses()
        self.differentiated: list[LossCall] = []
        self.seen = self.written.functions() if written else {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if transformed():
            return func(*args, **kwargs)
        if func in LOSSES:
            call = LossCall.of(func, args, kwargs)
            self.calls.append(call)
            value = func(*args, **kwargs)
            call.value = plain(value)
            return value
        if func is Tensor.backward:  # under manual optimisation the step itself differentiates
            self.differentiated += self.written.calls(args[0])
        value = func(*args, **kwargs)
        see = self.seen.get(func)
        if see is not None:
            see(func, args, kwargs, value)
        return value

    def every(self, loss: Tensor | None = None) -> list[LossCall]:
        """The calls of torch's functions; where none of them has a target and a gradient, also what the step's loss spells out."""
        return [*self.differentiated[: 0 if trained(self.calls) else None], *with_written(self.calls, self.written, loss)]

    def primary(self, loss: Tensor | None = None) -> LossCall | None:
        """The call to judge a step by, given its loss."""
        return primary(self.every(loss), loss)


def trained(calls: Sequence[LossCall]) -> bool:
    """Whether one of these calls of torch's functions is what a step trains by, or raised."""
    return any(c.target is not None and (c.value is None or c.value.requires_grad) for c in calls)


def with_written(calls: Sequence[LossCall], written: WrittenLosses, loss: Tensor | None) -> list[LossCall]:
    """The calls, and before them what a loss spells out where it is trained by none of them; in their place where they are but a trifle."""
    if not trained(calls):
        return [*written.calls(loss), *calls]
    return (written.calls(loss) if written.spelt and trifling(calls, loss) else []) or list(calls)


def trifling(calls: Sequence[LossCall], loss: Tensor | None, share: float = 0.1) -> bool:
    """Whether what a step trains by makes less than this share of its loss, as a further term beside a loss written by hand does."""
    values = [c.value for c in calls if c.value is not None and c.value.requires_grad]
    if loss is None or loss.grad_fn is None or loss.numel() != 1 or any(v.numel() != 1 for v in values):
        return False
    try:
        weights = torch.autograd.grad(loss, values, torch.ones_like(loss), retain_graph=True, allow_unused=True)
    except RuntimeError:  # re-entrant checkpoints allow only `backward`
        return False
    parts = [abs(float(w) * float(v.detach())) for w, v in zip(weights, values, strict=True) if w is not None]
    return 0 < sum(parts) < share * abs(float(loss.detach()))


@contextmanager
def watch_losses() -> Iterator[WatchLosses]:
    """Collect the losses of the step that runs inside the ``with`` block."""
    with WatchLosses() as mode:
        yield mode
