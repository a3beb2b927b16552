"""The calls of torch functions inside of a step, shown to those who asked for some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

See = Callable[[Callable[..., Any], Sequence[Any], Mapping[str, Any], Any], None]  # function, arguments, arguments by name, what it gave


def shared(wanted: Sequence[Mapping[Callable[..., Any], See]]) -> dict[Callable[..., Any], See]:
    """Who looks at which function, where several look at some."""
    seen: dict[Callable[..., Any], See] = {}
    for functions in wanted:
        for function, see in functions.items():
            seen[function] = see if function not in seen else Both(seen[function], see)
    return seen


class Both:
    """Two who look at the same calls."""

    def __init__(self, first: See, second: See) -> None:
        self.first, self.second = first, second

    def __call__(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        self.first(func, args, kwargs, output)
        self.second(func, args, kwargs, output)


def transformed() -> bool:
    """Whether this runs inside a transform of `torch.func` (``vmap``, ``grad`` ...), whose tensors stand for others and hold no numbers.

    >>> transformed(), torch.func.vmap(lambda x: x * transformed())(torch.ones(2))
    (False, tensor([1., 1.]))
    """
    return torch._C._functorch.peek_interpreter_stack() is not None


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
        if see is not None and not transformed():
            see(func, args, kwargs or {}, output)
        return output
