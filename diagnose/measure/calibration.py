"""How far probabilities can be believed: log loss, Brier score, expected calibration error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 15

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def log_losses(probability: NDArray[np.floating], target: Ints) -> Floats:
    """Negative log-probability of each sample's class, shape ``(n,)``.

    Probabilities are clipped to [ε, 1 − ε] with the precision ε of their type, as in scikit-learn.
    """
    epsilon = float(np.finfo(probability.dtype).eps)
    own = probability[np.arange(len(target)), target].astype(np.float64)
    return np.asarray(-np.log(np.clip(own, epsilon, 1 - epsilon)))


def brier_scores(probability: NDArray[np.floating], target: Ints) -> Floats:
    """Squared distance between probabilities and the true class per sample, shape ``(n,)``; for two classes that of class 1 alone.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950), eq. 2; scikit-learn halves
        it for two classes.
    """
    own = probability[np.arange(len(target)), target].astype(np.float64)
    if probability.shape[1] == 2:
        return (1 - own) ** 2
    squares = np.einsum("nc,nc->n", probability, probability, dtype=np.float64)
    scores: Floats = squares - 2 * own + 1
    return scores


def temperature(probability: NDArray[np.floating], target: Ints, rows: int = 20_000) -> float | None:
    """What to divide the logits by so that the log loss of these samples is least: above 1 for a model that is too sure.

    Logits are known from probabilities up to a constant, which softmax ignores. The log loss is convex in 1 / T, so its derivative, mean
    logit under the model minus mean logit of the true classes, is halved down to its root. ``None`` where no T between 0.02 and 50 is
    best, as when every sample is right. Of more than ``rows`` samples, evenly spaced ones are used.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    chosen = np.linspace(0, len(target) - 1, min(rows, len(target))).astype(np.int64)
    logits = np.log(np.maximum(probability[chosen].astype(np.float64), float(np.finfo(probability.dtype).tiny)))
    own = float(logits[np.arange(len(chosen)), target[chosen]].mean())

    def slope(inverse: float) -> float:
        weight = np.exp(inverse * (logits - logits.max(1, keepdims=True)))
        return float(((weight * logits).sum(1) / weight.sum(1)).mean()) - own

    low, high = math.log(1 / 50), math.log(50)
    if not slope(math.exp(low)) < 0 < slope(math.exp(high)):
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) < 0 else (low, middle)
    return math.exp(-low)


def prior_log_loss(support: Floats) -> float:
    """Entropy of the class shares, in nats: the log loss of always answering with them.

    >>> round(prior_log_loss(np.array([5.0, 5.0])), 4)
    0.6931
    """
    share = support[support > 0] / support.sum()
    return float(max(0.0, -(share * np.log(share)).sum()))


def confidence_gaps(probability: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS) -> Floats:
    """Confidence minus correctness of each sample in the column of its bin, shape ``(n, bins)``."""
    confidence = probability.max(1).astype(np.float64)
    gaps = np.zeros((len(right), bins))
    gaps[np.arange(len(right)), places(confidence, bins)] = confidence - right
    return gaps


def places(confidence: Floats, bins: int = BINS) -> Ints:
    """The bin of equal width of each confidence, shape ``(n,)``."""
    return np.clip((confidence * bins).astype(np.int64), 0, bins - 1)


def calibration_error(mean_gaps: Floats) -> Floats:
    """Expected calibration error from the means of `confidence_gaps`, shape ``(..., bins)`` to ``(...)``.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3.
    """
    total: Floats = np.abs(mean_gaps).sum(-1)
    return total


def reliability(probability: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS) -> dict[str, list[float]]:
    """Mean ``confidence`` and ``accuracy`` and the ``count`` of samples per bin of the top probability; 0 in empty bins."""
    confidence = probability.max(1).astype(np.float64)
    place = places(confidence, bins)
    count = np.bincount(place, minlength=bins)
    full = np.maximum(count, 1)
    return {
        "confidence": (np.bincount(place, weights=confidence, minlength=bins) / full).tolist(),
        "accuracy": (np.bincount(place, weights=right, minlength=bins) / full).tolist(),
        "count": count.tolist(),
    }
