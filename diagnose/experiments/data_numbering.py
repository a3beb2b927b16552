"""Whether the classes are numbered anew in every batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from diagnose.experiments.data_fields import Target
from diagnose.experiments.data_sample import Sample

SHUFFLES = 10


def numbering(sample: Sample, found: Target | None) -> dict[str, Any] | None:
    """How often a batch that lacks classes lacks just those with the highest numbers, as where each batch numbers what it holds from 0.

    Returns:
        ``batches`` (that lack a class, and hold one of theirs more than once), ``whole`` (share of them whose classes are 0
        to k - 1), ``expected``: the same for batches filled at random from all rows, and ``classes``. ``None`` where no batch lacks one.
    """
    if found is None or found.kind != "class" or len(found.values) != sample.count:
        return None
    values = found.values.astype(np.int64)
    if not len(values) or values.min() < 0:
        return None
    classes, cuts = int(values.max()) + 1, np.cumsum(sample.sizes)[:-1]

    def look(rows: Any) -> list[bool]:
        batches = [np.unique(part) for part in np.split(rows, cuts)]
        kept = [own for own, size in zip(batches, sample.sizes, strict=True) if len(own) < min(classes, size)]
        return [bool(own[-1] == len(own) - 1) for own in kept]

    seen, draw = look(values), np.random.default_rng(0)
    if not seen:
        return None
    random = [whole for _ in range(SHUFFLES) for whole in look(draw.permutation(values))]
    return {
        "batches": len(seen),
        "whole": float(np.mean(seen)),
        "expected": float(np.mean(random)) if random else 1.0,
        "classes": classes,
    }
