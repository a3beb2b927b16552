"""The losses of a step while it runs: calls of torch's functions, or the same written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from diagnose.measure.calls import transformed
from diagnose.measure.graph import addends, scaled
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
        if (not self.seen and func not in LOSSES) or transformed():
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
    return (written.calls(loss) if trifling(calls, written, loss) else []) or list(calls)


def trifling(calls: Sequence[LossCall], written: WrittenLosses, loss: Tensor | None, share: float = 0.1) -> bool:
    """Whether these calls make less than this share of a loss, as a further term beside one written by hand does.

    Read from the graph and from values that the step has computed itself: to differentiate would run the user's hooks once more.
    """
    if loss is None or loss.grad_fn is None or loss.numel() != 1 or not written.spelt:
        return False
    known = {c.value.grad_fn: c.value for c in calls if c.value is not None and c.value.grad_fn is not None and c.value.numel() == 1}
    terms = list(addends(loss.grad_fn))
    ours = [any(node in known for node in scaled(term)) for term in terms]
    if not any(ours) or all(ours):
        return False
    values = [known[term] if term in known else written.scalars.get(term) for term in terms]
    sizes = [abs(float(v.detach())) for v in values if v is not None]
    return len(sizes) == len(terms) and sum(v for v, own in zip(sizes, ours, strict=True) if own) < share * sum(sizes)


@contextmanager
def watch_losses() -> Iterator[WatchLosses]:
    """Collect the losses of the step that runs inside the ``with`` block."""
    with WatchLosses() as mode:
        yield mode
