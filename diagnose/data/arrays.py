"""Arrays of an ``.npz`` file as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diagnose.data.parts import Parts, Samples


class Arrays(Parts):
    """Inputs and targets from an ``.npz`` file.

    Args:
        path: The file.
        x: Name of the inputs in it, shape ``(n, ...)``; images as ``(n, channels, height, width)``.
        y: Name of the targets: whole numbers ``(n,)`` are classes, fractions ``(n,)`` or ``(n, k)`` are values.
        options: As in `Parts`.

    Raises:
        ValueError: No such file or array, or arrays that do not fit together.
    """

    def __init__(self, path: str | None, *, x: str = "x", y: str = "y", **options: Any) -> None:
        super().__init__(read(path, x, y), **options)


def read(path: str | None, x: str, y: str) -> Samples:
    """The samples of a file."""
    if not path or not Path(path).is_file():
        raise ValueError(f"data.path must name an .npz file, there is no file {path!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            for key, name in (("x", x), ("y", y)):
                if name not in file.files:
                    raise ValueError(f"data.{key}={name} is not in the file; it has {', '.join(file.files)}")
            inputs, targets = file[x], file[y]
    except (ValueError, OSError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(f"{Path(path).name} cannot be read: {error}") from error
    if inputs.ndim < 2 or len(inputs) != len(targets) or not np.issubdtype(inputs.dtype, np.number):
        raise ValueError(
            f"expected numbers of shape (n, ...) in {x!r} and n targets in {y!r}, "
            f"got {inputs.dtype} {inputs.shape} and {targets.dtype} {targets.shape}"
        )
    if np.issubdtype(targets.dtype, np.floating):
        values = targets.reshape(len(targets), -1).astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"the targets {y!r} hold {int((~np.isfinite(values)).sum())} NaN or infinite numbers; leave those rows out")
        return Samples(x=inputs.astype(np.float32), y=values, task="values")
    if targets.ndim != 1:
        raise ValueError(f"expected one class per sample in {y!r}, got the shape {targets.shape}")
    kinds, numbers = np.unique(targets, return_inverse=True)
    if len(kinds) < 2:
        raise ValueError(f"the targets {y!r} have one class, {kinds[0]!s}: at least two are needed")
    return Samples(x=inputs.astype(np.float32), y=numbers.astype(np.int64), class_names=[str(kind) for kind in kinds])
