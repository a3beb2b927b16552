"""Inputs as something to look at: images as small PNGs, values and tokens as text."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.report.text import number

SIDE = 80  # pixels of the longer side of a thumbnail
VALUES = 12
UNUSUAL = 6  # named features of a sample, those furthest from the median
TOKENS = 60
PAD = -1  # before the first token


def is_image(inputs: NDArray[np.generic]) -> bool:
    """Whether samples are pictures: shape ``(n, h, w)`` or ``(n, 1 or 3, h, w)``, each side of at least four pixels."""
    return (
        inputs.dtype.kind in "fu"
        and inputs.ndim in (3, 4)
        and min(inputs.shape[-2:]) >= 4
        and (inputs.ndim == 3 or inputs.shape[1] in (1, 3))
    )


def thumbnails(images: NDArray[np.generic]) -> list[str]:
    """Pictures as PNG data URIs, all on one scale from the darkest to the lightest value.

    Args:
        images: Shape ``(n, h, w)`` or ``(n, 1 or 3, h, w)``.
    """
    values = np.asarray(images, dtype=np.float64)
    values = values[:, None] if values.ndim == 3 else values
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    scaled = np.nan_to_num((values - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return [data_uri(shrunk(np.round(255 * image).astype(np.uint8).transpose(1, 2, 0))) for image in scaled]


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most `SIDE` pixels a side, each the mean of a block; shape ``(h, w, channels)``."""
    step = max(1, -(-max(image.shape[:2]) // SIDE))
    if step == 1:
        return image
    rows, columns = (np.arange(0, side, step) for side in image.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows, axis=0), columns, axis=1)
    sizes = np.outer(np.diff(np.r_[rows, image.shape[0]]), np.diff(np.r_[columns, image.shape[1]]))
    return np.asarray(np.round(sums / sizes[..., None]), dtype=np.uint8)


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image of shape ``(h, w, 1 or 3)`` as a PNG in a data URI.

    References:
        Portable Network Graphics Specification, W3C, sections 9 and 11: colour types 0 and 2, filter 0 before each row.
    """
    height, width, channels = image.shape
    rows = np.concatenate([np.zeros((height, 1), dtype=np.uint8), image.reshape(height, width * channels)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode("ascii")


def described(inputs: NDArray[np.generic], features: Sequence[Mapping[str, Any]] = (), words: Sequence[str] = ()) -> list[str]:
    """The first values of each sample, or its tokens, as text; of named features those furthest from usual.

    Args:
        inputs: Shape ``(n, ...)``.
        features: ``name``, ``median`` and ``spread`` (between the quartiles) of each column of a table.
        words: A name per token, where inputs are tokens and their names are known: single letters are written together.
    """
    rows = np.asarray(inputs).reshape(len(inputs), -1)
    if rows.dtype.kind in "US":
        return [" ".join(map(str, row)) for row in rows.tolist()]
    if features and len(features) == rows.shape[1]:
        usual, spread = (np.array([f[k] for f in features], dtype=np.float64) for k in ("median", "spread"))
        away = np.abs(rows - usual) / np.where(spread > 0, spread, np.inf)
        orders = np.argsort(-np.nan_to_num(away), axis=1, kind="stable")[:, :UNUSUAL].tolist()
        return [
            ", ".join(f"{features[i]['name']} {number(float(row[i]))} ({number(usual[i])})" for i in order)
            for row, order in zip(rows, orders, strict=True)
        ]
    more = f" … ({rows.shape[1]} in all)"
    if rows.dtype.kind in "iub" and words and int(rows.max(initial=0)) < len(words):
        kinds = [word[1:-1] if len(word) > 2 and word[0] == word[-1] == "'" else word for word in words]
        between = "" if sum(len(kind) == 1 for kind in kinds) > len(kinds) / 2 else " "
        return [between.join(kinds[v] for v in row if v != PAD and v >= 0) for row in rows.tolist()]
    if rows.dtype.kind in "iub":
        return [" ".join(str(v) for v in row[:TOKENS] if v != PAD) + more * (len(row) > TOKENS) for row in rows.tolist()]
    return [", ".join(number(float(v)) for v in row[:VALUES]) + more * (len(row) > VALUES) for row in rows.tolist()]
