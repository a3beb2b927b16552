"""Maps of principal components in the plane: t-SNE, UMAP, or the components themselves."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 5
ALONE = 2000  # samples up to which one thread is as fast as several, which wait for each other on a busy machine

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A map as its method made it, and how it was turned afterwards."""

    method: str
    xy: Floats
    perplexity: float | None = None
    map: Any = None
    turn: Floats = field(default_factory=lambda: np.eye(2))


def turn(place: Floats, before: Floats | None) -> Floats:
    """The rotation or reflection, shape ``(2, 2)``, that brings a map nearest to an earlier one of the same samples.

    What t-SNE and UMAP make means the same however it is turned, and a start that is like the earlier map may end as its mirror image.

    References:
        Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31 (1966).
    """
    if before is None:
        return np.eye(2)
    left, _, right = np.linalg.svd((place - place.mean(0)).T @ (before - before.mean(0)))
    return np.asarray(left @ right)


def place(scores: Floats, distinct: int, seed: int, perplexity: float, notes: list[str], method: str, before: Floats | None) -> Placed:
    """A map by the method asked for, or the first two principal components where that is not possible; ``notes`` gets the reason."""
    plane = np.zeros((len(scores), 2))
    plane[:, : min(2, scores.shape[1])] = scores[:, :2]
    if scores.shape[1] == 1:
        notes.append("the layer varies along one direction only, which is shown as a line")
        return Placed("PCA", plane)
    if distinct < FEWEST or method == "PCA":
        return Placed("PCA", plane)
    used = min(perplexity, (len(scores) - 1) / 3)
    try:
        if method == "UMAP":
            return umap(scores, seed, before)
        return tsne(scores, seed, used, before)
    except ImportError:
        notes.append("openTSNE is not installed: principal components are shown")
    except (ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        notes.append(f"{method} failed ({type(error).__name__}: {error}): principal components are shown")
    return Placed("PCA", plane)


def tsne(scores: Floats, seed: int, perplexity: float, before: Floats | None = None) -> Placed:
    """t-SNE of principal components, shape ``(n, d)`` to ``(n, 2)``; the same on every call, whatever the number of threads.

    Args:
        scores: Principal components, shape ``(n, d)``.
        seed: Of the noise that parts equal rows.
        perplexity: At most (n − 1) / 3.
        before: A map of the same samples to start from, shape ``(n, 2)``.
    """
    from openTSNE import TSNE

    first = scores[:, :2] if before is None else before - before.mean(0)
    start = first / (first[:, 0].std() or 1.0) * 1e-4
    rng = np.random.default_rng(seed)
    start = start + rng.normal(scale=1e-8, size=start.shape)  # equal rows must be able to part
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TSNE(
            perplexity=perplexity,
            learning_rate="auto",
            initialization=start,
            neighbors="exact" if len(scores) <= 10_000 else "approx",
            negative_gradient_method="bh" if len(scores) <= 10_000 else "fft",
            n_jobs=threads(len(scores)),
            random_state=seed,
        )
        made = model.fit(scores)
    place = np.array(made, dtype=np.float64)
    if not np.isfinite(place).all():
        raise ValueError("the map is not finite")
    turned = turn(place, before)
    return Placed("t-SNE", place @ turned, perplexity, made, turned)


def umap(scores: Floats, seed: int, before: Floats | None) -> Placed:
    """UMAP of principal components, in one thread, as a seed makes it the same on every call only there."""
    first = scores[:, :2] if before is None else before - before.mean(0)
    start = 10 * first / (np.abs(first).max() or 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP  # type: ignore[import-not-found,unused-ignore]

        model = UMAP(n_neighbors=min(15, len(scores) - 1), init=start, random_state=seed, n_jobs=1)
        place = np.asarray(model.fit_transform(scores), dtype=np.float64)
    if not np.isfinite(place).all():
        raise ValueError("the map is not finite")
    turned = turn(place, before)
    return Placed("UMAP", place @ turned, None, model, turned)


def threads(samples: int) -> int:
    """Threads for a map: one for few samples, else the processors that this process may use, at most eight and ``OMP_NUM_THREADS``."""
    if samples <= ALONE:
        return 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(8, usable, int(told) if told.isdigit() and int(told) else usable)
