"""Whether what tells the targets apart among training rows does so among validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from diagnose.experiments.data_fields import Array, Target
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.data_simple import TRAIN, distances, spread, standardised, table
from diagnose.experiments.data_words import by_words

FEWEST = 100  # rows of each part
MOST = 256  # rows of each part that are asked for
CLASSES = 50


def transfer(train: Sample, val: Sample, path: str, targets: tuple[Target | None, Target | None]) -> dict[str, Any] | None:
    """How well a model of no training, made of three quarters of the training rows, does on the others and on validation rows.

    Real numbers are judged by the five nearest rows, rows of integers by naive Bayes (`data_words.by_words`).

    Returns:
        ``model`` (``"nearest"`` or ``"words"``), ``kind`` of the target, ``rows`` (of training and of validation that were asked), and of
        both the mean recall of the classes over that of a guess (0 to 1; for values the share of the variance explained): ``inside`` and
        ``held``. For classes ``renumbered``: the gain in validation where each class there may have another number, and ``numbers``, the
        pairs of class and number that differ then; ``moved``, of each of these the rows asked, and its recall with its own number and with
        the other. ``apart``: how much further the validation rows are from the nearest training rows than
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
        squares = distances(*standardised(a, part))
        close = np.argpartition(squares, 5, axis=1)[:, :5]
        far.append(float(np.sqrt(np.median(squares.min(1)))))
        answers.append(own[known][close])
    if target.kind == "value":
        return answers[0].mean(1), answers[1].mean(1), far[1] / max(far[0], 1e-12)
    classes = np.unique(own)
    first, second = (classes[(votes[:, :, None] == classes).sum(1).argmax(1)] for votes in answers)
    return first, second, far[1] / max(far[0], 1e-12)


def _words(train: Sample, val: Sample, path: str, target: Target, parts: tuple[Array, Array, Array]) -> tuple[Array, Array, float] | None:
    known, asked, held = parts
    answers = by_words(train, val, path, target.values, known)
    return None if answers is None else (answers[0][asked], answers[1][held], 1.0)


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
    pairs = [(r, c) for r, c in zip(rows, columns, strict=True) if classes[r] != given[c]]
    moved = [[int((true == r).sum()), float(recall[r, given == classes[r]].sum()), float(recall[r, c])] for r, c in pairs]
    gain = _over_guess(float(recall[rows, columns].sum() / len(classes)), len(classes))
    return {"renumbered": gain, "numbers": [[int(classes[r]), int(given[c])] for r, c in pairs], "moved": moved}
