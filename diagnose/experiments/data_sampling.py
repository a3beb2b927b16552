"""What a weighted sampler does to the shares of the classes."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from diagnose.experiments.data_fields import Target
from diagnose.experiments.data_sample import Sample

ALIKE = 1.01  # times the smallest weight of a class that its largest may be


def sampling(sample: Sample, target: Target | None) -> dict[str, Any] | None:
    """The shares of the classes among the rows drawn, and in the data set, where each class has one weight.

    The data set is not read for it: a class that has the share d of the rows drawn under the weight w has a share of the data set in
    proportion to d / w.

    Returns:
        Class → ``drawn``, ``share`` (in the data set, of the classes that were drawn) and ``weight``; ``None`` where the order is not
        weighted, the rows or classes are not known, or rows of one class weigh differently.
    """
    rows = np.fromiter(chain.from_iterable(sample.rows), dtype=np.int64)
    if sample.weights is None or target is None or target.kind != "class" or len(rows) != len(target.values):
        return None
    classes, place, counts = np.unique(target.values, return_inverse=True, return_counts=True)
    given = sample.weights.double().cpu().numpy()[rows]
    each = [given[place == c] for c in range(len(classes))]
    if len(classes) < 2 or any(w.min() <= 0 or w.max() > ALIKE * w.min() for w in each):
        return None
    weights = np.array([w.mean() for w in each])
    shares = counts / weights
    columns = zip(classes.tolist(), counts / counts.sum(), shares / shares.sum(), weights, strict=True)
    return {str(int(c)): {"drawn": float(d), "share": float(s), "weight": float(w)} for c, d, s, w in columns}
