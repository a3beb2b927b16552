"""Whether what tells the targets apart among training rows does so among validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from diagnose.experiments.data_fields import Array, Target
from diagnose.experiments.data_nearest import TRAIN, distances, spread, table
from diagnose.experiments.data_sample import Sample

FEWEST = 100  # rows of each part
MOST = 256  # rows of each part that are asked for
CLASSES = 50
WORDS = 200_000


def transfer(train: Sample, val: Sample, path: str, targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """How well a model of no training, made of three quarters of the training rows, does on the others and on validation rows.

    Real numbers are judged by the five nearest rows, rows of integers by naive Bayes over how often each integer occurs (A. McCallum and
    K. Nigam, 1998), zeros left out.

    Returns:
        ``model`` (``"nearest"`` or ``"words"``), ``kind`` of the target, ``rows`` (of training and of validation that were asked), and of
        both the mean recall of the classes over that of a guess (0 to 1; for values the share of the variance explained): ``inside`` and
        ``held``. For classes ``renumbered``: the gain in validation where each class there may have another number, and ``numbers``, the
        pairs of class and number that differ then. ``apart``: how much further the validation rows are from the nearest training rows than
        the others of training are (median; 1 for words). ``table``: whether an input is one row of numbers. ``None`` where the targets are
        not one class or value per row, or rows are too few.
    """
    first, second = targets
    kinds = {None if t is None else t.kind for t in targets}
    if first is None or second is None or kinds not in ({"class"}, {"value"}):
        return None
    own, theirs = first.values, second.values
    if min(len(own) // 4, len(theirs)) < FEWEST or (kinds == {"class"} and not 2 <= len(np.unique(own)) <= CLASSES):
        return None
    fourth = np.arange(len(own)) % 4 == 3
    known, asked, held = np.flatnonzero(~fourth), spread(np.flatnonzero(fourth), MOST), spread(np.arange(len(theirs)), MOST)
    floating = train.fields[path][0].is_floating_point()
    answer = _nearest if floating else _words if kinds == {"class"} else None
    given = answer(train, val, path, first, (known, asked, held)) if answer else None
    if given is None:
        return None
    inside, outside, apart = given
    fact = {"model": "nearest" if floating else "words", "kind": first.kind, "rows": [len(asked), len(held)], "apart": apart}
    fact["table"] = train.fields[path][0].dim() == 2
    if kinds == {"value"}:
        return fact | {"inside": _explained(inside, own[asked]), "held": _explained(outside, theirs[held])}
    return fact | {"inside": _gain(inside, own[asked]), "held": _gain(outside, theirs[held]), **_renumbered(outside, theirs[held])}


def _nearest(train: Sample, val: Sample, path: str, target: Target, parts: tuple[Array, Array, Array]) -> tuple[Array, Array, float] | None:
    rows, others, own = train.of(path), val.of(path), target.values
    if rows is None or others is None or rows.shape[1:] != others.shape[1:] or rows.dim() < 2 or len(rows) != len(own):
        return None
    known, asked, held = spread(parts[0], TRAIN), parts[1], parts[2]
    a, b, c = (table(part[i], len(i)) for part, i in ((rows, known), (rows, asked), (others, held)))
    if not all(np.isfinite(part).all() for part in (a, b, c)):
        return None
    answers, far = [], []
    for part in (b, c):
        squares = distances(a, part)
        close = np.argpartition(squares, 5, axis=1)[:, :5]
        far.append(float(np.sqrt(np.median(squares.min(1)))))
        answers.append(own[known][close])
    if target.kind == "value":
        return answers[0].mean(1), answers[1].mean(1), far[1] / max(far[0], 1e-12)
    classes = np.unique(own)
    first, second = (classes[(votes[:, :, None] == classes).sum(1).argmax(1)] for votes in answers)
    return first, second, far[1] / max(far[0], 1e-12)


def _words(train: Sample, val: Sample, path: str, target: Target, parts: tuple[Array, Array, Array]) -> tuple[Array, Array, float] | None:
    if len(train.fields[path]) != len(train.sizes) or len(val.fields[path]) != len(val.sizes):
        return None
    tokens, theirs = _tokens(train, path), _tokens(val, path)
    if tokens is None or theirs is None:
        return None
    own, (known, asked, held) = target.values, parts
    size = int(max(tokens[1].max(initial=0), theirs[1].max(initial=0))) + 1
    classes, label = np.unique(own, return_inverse=True)
    inside = np.isin(tokens[0], known)
    counts = np.zeros((len(classes), size))
    np.add.at(counts, (label[tokens[0][inside]], tokens[1][inside]), 1.0)
    score = np.log(counts + 1) - np.log(counts.sum(1, keepdims=True) + size)
    prior = np.log(np.bincount(label[known], minlength=len(classes)) + 1.0)

    def classify(pairs: tuple[Array, Array], rows: int, chosen: Array) -> Array:
        total = np.tile(prior, (rows, 1))
        np.add.at(total, pairs[0], score[:, pairs[1]].T)
        answer: Array = classes[total[chosen].argmax(1)]
        return answer

    return classify(tokens, len(own), asked), classify(theirs, val.count, held), 1.0


def _tokens(sample: Sample, path: str) -> tuple[Array, Array] | None:
    """Row and integer of every entry that is not 0; ``None`` where these are no rows of integers of one vocabulary."""
    rows, entries, start = [], [], 0
    for part, size in zip(sample.fields[path], sample.sizes, strict=True):
        if part.dim() != 2 or len(part) != size or part.is_floating_point():
            return None
        values = part.numpy().astype(np.int64)
        if values.size and (values.min() < 0 or values.max() >= WORDS):
            return None
        place = np.nonzero(values)
        rows.append(place[0] + start)
        entries.append(values[place])
        start += size
    return np.concatenate(rows), np.concatenate(entries)


def _gain(answers: Array, truth: Array) -> float:
    """The mean recall of the classes over that of a guess, which does not depend on how often each one is drawn."""
    classes, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
    recall = np.bincount(place, answers == truth) / counts
    return _over_guess(float(recall.mean()), len(classes))


def _over_guess(recall: float, classes: int) -> float:
    return (classes * recall - 1) / (classes - 1) if classes > 1 else 0.0


def _explained(answers: Array, truth: Array) -> float:
    return float(1 - np.square(answers - truth).mean() / max(float(truth.var()), 1e-300))


def _renumbered(answers: Array, truth: Array) -> dict[str, Any]:
    """The gain where the classes of validation are given the numbers that suit the answers best, and which these are."""
    classes, true = np.unique(truth, return_inverse=True)
    given, place = np.unique(answers, return_inverse=True)
    recall = np.zeros((len(classes), len(given)))
    np.add.at(recall, (true, place), 1 / np.bincount(true)[true])
    rows, columns = linear_sum_assignment(-recall)
    moved = [[int(classes[r]), int(given[c])] for r, c in zip(rows, columns, strict=True) if classes[r] != given[c]]
    return {"renumbered": _over_guess(float(recall[rows, columns].sum() / len(classes)), len(classes)), "numbers": moved}
