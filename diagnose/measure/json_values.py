"""Numbers as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> float | None:
    """A number, ``None`` where it is not finite.

    >>> plain(float("nan")) is None
    True
    """
    number = float(value)
    return number if math.isfinite(number) else None


def plain_tree(value: Any) -> Any:
    """The same for every float of nested mappings and lists."""
    if isinstance(value, Mapping):
        return {str(k): plain_tree(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_tree(v) for v in value]
    return plain(value) if isinstance(value, float) else value
