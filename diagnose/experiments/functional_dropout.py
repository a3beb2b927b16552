"""Dropout that is called as a function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)


class WatchDropout(TorchFunctionMode):
    """Collects the calls that drop something: ``found`` holds ``"F.dropout(p=0.5)"`` for each."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS:
            given = signature(func).bind(*args, **kwargs)
            given.apply_defaults()
            if given.arguments["training"] and given.arguments["p"] > 0:
                self.found.append(f"F.{func.__name__}(p={given.arguments['p']:g})")
        elif func is F.scaled_dot_product_attention:
            p = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
            if p > 0:
                self.found.append(f"F.scaled_dot_product_attention(dropout_p={p:g})")
        return func(*args, **kwargs)


def called_dropouts(calls: Sequence[tuple[float, int]], modules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The calls of functional dropout that no dropout module made, as entries without a name; all calls are given as p and units.

    >>> called_dropouts([(0.5, 8), (0.5, 8), (0.9, 64)], [{"name": "drop", "p": 0.5, "units": 8}])
    [{'name': '', 'p': 0.5, 'units': 8}, {'name': '', 'p': 0.9, 'units': 64}]
    """
    own = Counter(calls) - Counter((float(m["p"]), int(m["units"])) for m in modules)
    return [{"name": "", "p": p, "units": units} for p, units in own.elements() if p > 0]
