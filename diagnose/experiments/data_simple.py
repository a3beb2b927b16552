"""What models of no training make of validation rows, to hold the trained one against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from diagnose.experiments.data_fields import Array, Target
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.data_words import by_places, by_words

TRAIN, HELD_OUT = 1024, 256  # rows
COLUMNS = 256
NEIGHBOURS = 5
FEWEST = 50  # rows of each part
RIDGE = 0.1  # penalty of the squared coefficients, in shares of the columns' variance


def simple(train: Sample, val: Sample, path: str, targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """What the best of some models that need no training tells of the targets of validation rows.

    Of real numbers, standardised, these are the five nearest training rows, their majority or their mean, equal rows passed over so that
    copies do not count; and a linear map by ridge regression (A. Hoerl and R. Kennard, 1970), of classes from their indicators. Of rows
    of integers and classes these are naive Bayes on how often each occurs and, of rows of one length, on which one stands where.

    Returns:
        ``model`` (``"nearest"``, ``"linear"``, ``"words"`` or ``"places"``), ``rows`` (of validation) and ``trained`` (rows of training
        that it has). For classes the ``accuracy``, ``majority`` (the share of the largest class) and ``classes``; for values or vectors the
        share of the variance that is ``explained``, and its standard ``error``. ``None`` where the targets are not one class, value or
        vector per row, or the inputs no numbers of one shape.
    """
    first, second = targets
    if first is None or second is None or first.kind != second.kind or first.kind not in ("class", "value", "vector"):
        return None
    if min(len(first.values), len(second.values)) < FEWEST or first.values.shape[1:] != second.values.shape[1:]:
        return None
    own, held_out = spread(first.values, TRAIN), spread(second.values, HELD_OUT)
    if train.fields[path][0].is_floating_point():
        guesses = _of_numbers(train, val, path, own)
    else:
        guesses = _of_words(train, val, path, first, len(second.values))
    judge, by = (_right, "accuracy") if first.kind == "class" else (_explained, "explained")
    facts = {model: judge(guess, held_out) for model, guess in guesses.items()}
    best = max(facts, key=lambda model: float(facts[model][by]), default=None)
    if best is None:
        return None
    classes = {"classes": len(np.unique(own))} if first.kind == "class" else {}
    return {"model": best, "rows": len(held_out), "trained": len(own if best != "words" else first.values), **facts[best], **classes}


def _of_numbers(train: Sample, val: Sample, path: str, own: Array) -> Mapping[str, Array]:
    """What each model answers to the rows of validation."""
    first, second = train.of(path), val.of(path)
    if first is None or second is None or first.shape[1:] != second.shape[1:]:
        return {}
    a, b = table(first, TRAIN), table(second, HELD_OUT)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return {}
    a, b = standardised(a, b)
    close = own[np.argpartition(distances(a, b), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
    if own.dtype.kind == "f":
        return {"nearest": close.mean(1), "linear": _linear(a, own, b)}
    classes = np.unique(own)
    votes = (close[:, :, None] == classes).sum(1)
    return {"nearest": classes[votes.argmax(1)], "linear": classes[_linear(a, (own[:, None] == classes).astype(float), b).argmax(1)]}


def _of_words(train: Sample, val: Sample, path: str, target: Target, rows: int) -> Mapping[str, Array]:
    if target.kind != "class":
        return {}
    answers = {}
    words = by_words(train, val, path, target.values, np.arange(len(target.values)))
    if words is not None:
        answers["words"] = spread(words[1][:rows], HELD_OUT)
    first, second = train.of(path), val.of(path)
    if first is not None and second is not None and first.dim() == second.dim() == 2 and first.shape[1] == second.shape[1] > 0:
        answers["places"] = by_places(spread(first.numpy(), TRAIN), spread(second.numpy()[:rows], HELD_OUT), spread(target.values, TRAIN))
    return answers


def standardised(a: Array, b: Array) -> tuple[Array, Array]:
    """Both in standard deviations of the columns of ``a``, from their means; columns that never vary are 0."""
    scale = np.where(a.std(0) > 0, a.std(0), np.inf)
    return (a - a.mean(0)) / scale, (b - a.mean(0)) / scale


def distances(a: Array, b: Array) -> Array:
    """Squares of the distances of the rows of ``b`` from those of ``a``, shape ``(len(b), len(a))``; infinite for equal rows."""
    squares: Array = (b**2).sum(1)[:, None] + (a**2).sum(1)[None] - 2 * b @ a.T
    squares[squares < 1e-9 * a.shape[1]] = np.inf
    return squares


def _linear(a: Array, own: Array, b: Array) -> Array:
    """The ridge regression of ``own`` on ``a``, for the rows of ``b``."""
    gram = a.T @ a + RIDGE * len(a) * np.eye(a.shape[1])
    guess: Array = b @ np.linalg.solve(gram, a.T @ (own - own.mean(0))) + own.mean(0)
    return guess


def _right(guess: Array, held_out: Array) -> dict[str, Any]:
    counts = np.unique(held_out, return_counts=True)[1]
    return {"accuracy": float((guess == held_out).mean()), "majority": float(counts.max() / counts.sum())}


def _explained(guess: Array, held_out: Array) -> dict[str, Any]:
    left = np.square(guess - held_out).reshape(len(guess), -1).sum(1) / max(float(held_out.var(0).sum()), 1e-300)
    return {"explained": float(1 - left.mean()), "error": float(left.std() / len(left) ** 0.5)}


def table(rows: Tensor, most: int) -> Array:
    """Some of the columns of some of the rows: images have many more than are needed."""
    flat = spread(rows.flatten(1).numpy(), most)
    return flat[:, :: max(1, flat.shape[1] // COLUMNS)].astype(np.float64)


def spread(rows: Array, most: int) -> Array:
    """At most so many rows, spread over all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
