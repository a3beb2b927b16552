"""The calls of torch functions inside of a step, shown to those who asked for some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

See = Callable[[Callable[..., Any], Sequence[Any], Mapping[str, Any], Any], None]  # function, arguments, arguments by name, what it gave


class WatchCalls(TorchFunctionMode):
    """Shows the calls made while it is entered; one mode for all who look, since each mode slows every call of a function down.

    Args:
        seen: Who looks at the calls of which function, after they returned.
    """

    def __init__(self, seen: Mapping[Callable[..., Any], See]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **kwargs) if kwargs else func(*args)
        see = self.seen.get(func)
        if see is not None:
            see(func, args, kwargs or {}, output)
        return output
