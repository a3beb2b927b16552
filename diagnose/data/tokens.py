"""A text file as data: predict the next character."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diagnose.data.parts import Parts, Samples


class Tokens(Parts):
    """Pieces of a text, and the same pieces one character further.

    The parts are runs of the text: its beginning is for training, its end for the test, so that no piece overlaps another part.

    Args:
        path: A text file in UTF-8.
        length: Characters per piece.
        options: As in `Parts`; numbers are not normalised, since there are none.

    Raises:
        ValueError: No such file, or a text that is too short.
    """

    def __init__(self, path: str | None, *, length: int = 32, **options: Any) -> None:
        super().__init__(read(path, length), **options)


def read(path: str | None, length: int) -> Samples:
    """The samples of a text."""
    if not path or not Path(path).is_file():
        raise ValueError(f"data.path must name a text file, there is no file {path!r}")
    if length < 2:
        raise ValueError(f"data.length must be at least 2, got {length!r}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{Path(path).name} is no text in UTF-8: {error}") from error
    kinds = sorted(set(text))
    pieces = (len(text) - 1) // length
    if pieces < 10 or len(kinds) < 2:
        raise ValueError(
            f"expected at least {10 * length + 1} characters of two kinds in {Path(path).name}, got {len(text)} of {len(kinds)}; "
            f"lower data.length={length} or take a longer text"
        )
    position = {kind: index for index, kind in enumerate(kinds)}
    numbers = np.array([position[c] for c in text], dtype=np.int64)
    x, y = (numbers[k : k + pieces * length].reshape(pieces, length) for k in (0, 1))
    names = [repr(kind)[1:-1] if kind.strip() else repr(kind) for kind in kinds]
    return Samples(x=x.copy(), y=y.copy(), task="tokens", class_names=names, ordered=True)
