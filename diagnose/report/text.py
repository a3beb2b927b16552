"""Untrusted text and numbers, made fit to be read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# C0 and C1 controls, lone surrogates, non-characters, and the marks that reverse the direction of what follows them
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def clean(text: str) -> str:
    r"""Text without control characters, terminal escapes and direction overrides.

    >>> clean("cat\x1b[31m\x00 \u202egpj.exe")
    'cat gpj.exe'
    """
    return HARMFUL.sub("", ESCAPES.sub("", text.replace("\r\n", "\n")))


def plain(value: Any) -> Any:
    """JSON values with clean text, tuples for lists, and ``None`` for numbers that JSON lacks.

    >>> plain({"a": [1.5, float("nan")]})
    {'a': (1.5, None)}
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {clean(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return plain(value.item() if hasattr(value, "item") else str(value))


def number(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; whole numbers stay whole, what is not measured is a dash.

    >>> number(0.98765), number(1797), number(3.2e-07), number(None), number(123456.7)
    ('0.988', '1,797', '3.2e-07', '–', '123,457')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1e6 or size < 1e-4:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}" if size >= 1 else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as per cent.

    >>> percent(0.123), percent(None)
    ('12.3 %', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.0123), duration(12.34), duration(3723)
    ('0.01 s', '12.3 s', '1 h 2 min')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "fault"), plural(2, "batch")
    ('1 fault', '2 batches')
    """
    many = f"{noun}es" if noun.endswith(("s", "tch")) else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def sentence(text: str) -> str:
    """Text with a capital letter and a full stop; a name at its start stays as it is.

    >>> sentence("the loss is NaN"), sentence("cross_entropy gets a softmax.")
    ('The loss is NaN.', 'cross_entropy gets a softmax.')
    """
    first = text.split(" ", 1)[0]
    whole = text[:1].upper() + text[1:] if first.replace("-", "").isalpha() else text
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."
