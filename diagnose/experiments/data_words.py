"""Naive Bayes over the integers of a row, how often or at which place each occurs, as models of texts that need no training."""

from __future__ import annotations

import numpy as np

from diagnose.experiments.data_fields import Array
from diagnose.experiments.data_sample import Sample

WORDS = 200_000  # integers beyond are no vocabulary
PLACES = 256


def by_words(train: Sample, val: Sample, path: str, own: Array, known: Array) -> tuple[Array, Array] | None:
    """The classes of all rows of both samples, told by the integers of the ``known`` rows of training (A. McCallum and K. Nigam, 1998).

    Zeros, which often are padding, are left out. ``own``, shape ``(rows of training,)``, are the classes there. ``None`` where the field
    does not hold rows of integers of one vocabulary.
    """
    tokens, theirs = _tokens(train, path), _tokens(val, path)
    if tokens is None or theirs is None:
        return None
    size = int(max(tokens[1].max(initial=0), theirs[1].max(initial=0))) + 1
    classes, label = np.unique(own, return_inverse=True)
    inside = np.isin(tokens[0], known)
    counts = np.zeros((len(classes), size))
    np.add.at(counts, (label[tokens[0][inside]], tokens[1][inside]), 1.0)
    score = np.log(counts + 1) - np.log(counts.sum(1, keepdims=True) + size)
    prior = np.log(np.bincount(label[known], minlength=len(classes)) + 1.0)

    def classify(pairs: tuple[Array, Array], rows: int) -> Array:
        total = np.tile(prior, (rows, 1))
        np.add.at(total, pairs[0], score[:, pairs[1]].T)
        answer: Array = classes[total.argmax(1)]
        return answer

    return classify(tokens, len(own)), classify(theirs, val.count)


def by_places(train: Array, val: Array, own: Array) -> Array:
    """The classes of the rows of ``val``, told by which integer stands at which place, from the rows of ``train`` and their classes.

    Both have shape ``(n, k)``; of more places than 256 evenly spaced ones are looked at, the first and the last among them.
    """
    classes, label = np.unique(own, return_inverse=True)
    total = np.tile(np.log(np.bincount(label) + 1.0), (len(val), 1))
    for place in np.unique(np.linspace(0, train.shape[1] - 1, PLACES).astype(int)):
        known, code = np.unique(train[:, place], return_inverse=True)
        counts = np.zeros((len(known), len(classes)))
        np.add.at(counts, (code, label), 1.0)
        score = np.log(counts + 1) - np.log(counts.sum(0) + len(known))
        found = np.minimum(np.searchsorted(known, val[:, place]), len(known) - 1)
        seen = known[found] == val[:, place]  # what training never has there says nothing
        total[seen] += score[found[seen]]
    answer: Array = classes[total.argmax(1)]
    return answer


def _tokens(sample: Sample, path: str) -> tuple[Array, Array] | None:
    """Row and integer of every entry that is not 0; ``None`` where these are no rows of integers of one vocabulary."""
    if len(sample.fields[path]) != len(sample.sizes):
        return None
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
