"""How the numbers of a record are written in its lines, which are JSON, and read back."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FEW = 8  # columns
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
ROUNDED = 2.0**-16  # half the last place of a significand of 16 bits, relative to the number


def encode(value: Any) -> Any:
    """A value as JSON has it, numbers at seven digits; NaN and infinity, which JSON has not, are ``{"~": "nan"}``.

    >>> encode({"share": 1 / 3, "floor": float("inf")})
    {'share': 0.3333333, 'floor': {'~': 'inf'}}
    """
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else {"~": str(float(value))}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    return value


def encode_entry(value: float | int | Sequence[float | int | None] | None) -> Any:
    """An entry of a row; columns that were not measured are many, and NaN is longer than null. Those of many layers are packed."""
    if not isinstance(value, (list, tuple)):
        return encode(value)
    text = pack(value) if len(value) > FEW else None
    return [None if v != v else encode(v) for v in value] if text is None else {"~f": text}


def pack(numbers: Sequence[float | int | None]) -> str | None:
    """Four characters for each number: the upper three bytes of its IEEE 754 binary32, rounded, most significant first, in base64.

    Returns:
        The text, or ``None`` where a number does not fit into a float of 32 bits.
    """
    exact = np.array(numbers, dtype=np.float64)
    with np.errstate(all="ignore"):  # what overflows and underflows is found below
        bits = (exact.astype(np.float32).view(np.uint32) + 0x80) & 0xFFFFFF00
        if (np.abs(bits.view(np.float32) - exact) > ROUNDED * np.abs(exact)).any():
            return None
    return base64.b64encode(bits.astype(">u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()).decode("ascii")


def unpack(text: str) -> list[float]:
    """The numbers that `pack` has written.

    >>> unpack(pack([1.0, None, -0.375]))
    [1.0, nan, -0.375]

    Raises:
        ValueError: The text is not of that form.
    """
    try:
        kept = np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(-1, 3)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"expected packed numbers (four characters of base64 each), got {text[:20]!r}") from error
    whole = np.zeros((len(kept), 4), np.uint8)
    whole[:, :3] = kept
    numbers: list[float] = whole.view(">f4")[:, 0].tolist()
    return numbers


def decode(value: Any) -> Any:
    """What `encode` and `encode_entry` were given, to the digits that they keep."""
    if isinstance(value, dict):
        if value.keys() == {"~"}:
            return SPECIAL[value["~"]]
        return unpack(value["~f"]) if value.keys() == {"~f"} else {k: decode(v) for k, v in value.items()}
    return [decode(v) for v in value] if isinstance(value, list) else value


def until(events: bytes, batch: int) -> bytes:
    """The lines of a record up to the first row of a later batch, and all labels: rows that come again have the same columns."""
    kept, over = [], False
    for line in events.splitlines(keepends=True):
        try:
            event = json.loads(line)
        except ValueError:  # cut off
            break
        over = over or event.get("at", (0, 0, batch))[2] > batch
        if not over or "labels" in event:
            kept.append(line)
    return b"".join(kept)
