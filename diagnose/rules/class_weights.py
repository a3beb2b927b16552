"""What the weights of a loss make of its classes."""

from __future__ import annotations

import numpy as np

from diagnose.record import Record


def rising_weights(record: Record, few: int = 3) -> tuple[int, int] | None:
    """The most and the least frequent class, where the loss weighs classes the more the more frequent they are; else ``None``.

    Frequencies and weights must differ by half, and their logarithms be correlated by 0.8 over the classes with ``few`` targets or more.
    """
    given = record.facts.get("probe.step", {}).get("class_weights") or {"weight": [], "count": []}
    known = [(n, w, i) for i, (w, n) in enumerate(zip(given["weight"], given["count"], strict=True)) if n >= few and w > 0]
    if len(known) < 2:
        return None
    (least, lightest, last), (most, heaviest, first) = min(known), max(known)
    if most < 1.5 * least or heaviest < 1.5 * lightest:
        return None
    logs = np.log(np.array([(n, w) for n, w, _ in known]))
    return (first, last) if np.corrcoef(logs.T)[0, 1] > 0.8 else None


def outweighed(record: Record, times: float, share: float, few: int = 10) -> tuple[int, int] | None:
    """The class that counts most in the loss and the one that counts least, where their weights and what they sum up to are so unequal.

    Weight by number of targets differ ``times`` over, and so do the weights alone, though the lesser class has ``share`` of the targets and
    ``few`` of those looked at.
    """
    given = record.facts.get("probe.step", {}).get("class_weights") or {"weight": [], "count": []}
    known = [(w * n, i) for i, (w, n) in enumerate(zip(given["weight"], given["count"], strict=True)) if n >= 1 and w > 0]
    common = [(mass, i) for mass, i in known if given["count"][i] >= max(few, share * sum(given["count"]))]
    if not common:
        return None
    (least, low), (most, high) = min(common), max(known)
    return (high, low) if most >= times * least and given["weight"][high] >= times * given["weight"][low] else None
