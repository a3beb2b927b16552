"""A map of a hidden layer in the plane, and the numbers that say what the map shows.

t-SNE as its authors advise today: start from principal components, learning rate n / exaggeration, perplexity at most (n − 1) / 3, on at
most 50 principal components, with a fixed seed. Distances between clusters and cluster sizes have no meaning in such a map.

References:
    van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9 (2008).
    Kobak and Berens, The art of using t-SNE for single-cell transcriptomics, Nature Communications 10 (2019).
    Belkina et al., Automated optimized parameters for t-SNE, Nature Communications 10 (2019): learning rate.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 50
NEIGHBOURS = 10
FEWEST = 5

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """A map and what it shows.

    Attributes:
        xy: Places, shape ``(m, 2)``; ``(0, 2)`` where no map can be made.
        rows: Which rows of the features are shown, shape ``(m,)``, ascending.
        method: ``"t-SNE"``, ``"PCA"`` or ``"none"``.
        n: Samples shown.
        cap: The most that are shown.
        perplexity: As used, ``None`` without t-SNE.
        seed: Of the choice of samples and of the map.
        note: What was out of the ordinary, or ``""``.
        dim: Features of the layer.
        knn_accuracy: Share of samples whose label is that of most of their 10 nearest neighbours in the layer.
        chance: Share of the largest class among the samples shown.
        silhouette: Of the labels in the layer, -1 to 1.
        trustworthiness: Of the map for the layer, 0 to 1.
        effective_rank: Number of directions that carry the variance (exponential of the entropy of their shares), 0 for a constant layer.
    """

    xy: Floats
    rows: Ints
    method: str
    n: int
    cap: int
    perplexity: float | None
    seed: int
    note: str
    dim: int
    knn_accuracy: float | None = None
    chance: float | None = None
    silhouette: float | None = None
    trustworthiness: float | None = None
    effective_rank: float | None = None

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("xy", "rows")}


def project(
    features: NDArray[Any], *, seed: int = 0, cap: int = 2000, perplexity: float = 30.0, labels: Sequence[int] | NDArray[Any] | None = None
) -> Embedding:
    """Map the rows of ``features`` into the plane.

    Args:
        features: Shape ``(n, d)``; rows with NaN or infinities are left out.
        seed: Seed of the choice of samples and of the map.
        cap: The most rows to show; of more, a choice with the shares of the labels.
        perplexity: Of t-SNE; lowered to (n − 1) / 3.
        labels: Classes of the rows, shape ``(n,)``, for the choice, k-NN accuracy and silhouette.

    Raises:
        ValueError: ``features`` is not of shape ``(n, d)``, or there is another number of labels than of rows.
    """
    table = np.asarray(features)
    if table.ndim != 2:
        raise ValueError(f"expected features of shape (n, d), got {table.shape!r}: flatten them")
    if labels is not None and len(labels) != len(table):
        raise ValueError(f"expected a label for each of {len(table)} rows, got {len(labels)}")
    notes: list[str] = []
    rows = np.flatnonzero(np.isfinite(table).all(1))
    if len(rows) < len(table):
        notes.append(f"{len(table) - len(rows)} rows with NaN or infinity were left out")
    classes = None if labels is None else np.asarray(labels)
    rows = subsample(rows, cap, None if classes is None else classes[rows], seed)
    shown = table[rows].astype(np.float64)
    classes = None if classes is None else classes[rows]
    known: dict[str, Any] = {"rows": rows, "n": len(rows), "cap": cap, "seed": seed, "dim": table.shape[1]}
    if len(rows) < FEWEST or not table.shape[1]:
        few = f"{len(rows)} usable samples are too few for a map, it needs {FEWEST}" if table.shape[1] else "the layer has no features"
        known |= {"rows": rows[:0], "n": 0}
        return Embedding(xy=np.zeros((0, 2)), method="none", perplexity=None, note="; ".join([*notes, few]), **known)
    shown = shown - shown.mean(0)
    shown /= np.abs(shown).max() or 1.0  # so that squares neither overflow nor vanish
    scores, shares = components(shown)
    rank = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
    known["effective_rank"] = round(rank, 4)
    if not len(shares):
        known |= measure(shown, classes, None, notes)
        known |= {"rows": rows[:0]}
        return Embedding(xy=np.zeros((0, 2)), method="none", perplexity=None, note="; ".join([*notes, "the layer is constant"]), **known)
    distinct = len(np.unique(shown, axis=0))
    if distinct < len(shown):
        notes.append(f"only {distinct} of {len(shown)} rows are distinct")
    method, place, used = _place(scores, distinct, seed, perplexity, notes)
    known |= measure(scores, classes, place, notes)
    return Embedding(xy=place, method=method, perplexity=used, note="; ".join(notes), **known)


def _place(scores: Floats, distinct: int, seed: int, perplexity: float, notes: list[str]) -> tuple[str, Floats, float | None]:
    plane = np.zeros((len(scores), 2))
    plane[:, : min(2, scores.shape[1])] = scores[:, :2]
    if scores.shape[1] == 1:
        notes.append("the layer varies along one direction only, which is shown as a line")
        return "PCA", plane, None
    if distinct < FEWEST:
        return "PCA", plane, None
    used = min(perplexity, (len(scores) - 1) / 3)
    try:
        return "t-SNE", tsne(scores, seed, used), used
    except ImportError:
        notes.append("openTSNE is not installed: principal components are shown")
    except (ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        notes.append(f"t-SNE failed ({type(error).__name__}: {error}): principal components are shown")
    return "PCA", plane, None


def tsne(scores: Floats, seed: int, perplexity: float) -> Floats:
    """t-SNE of principal components, shape ``(n, d)`` to ``(n, 2)``; the same on every call."""
    from openTSNE import TSNE

    start = scores[:, :2] / (scores[:, 0].std() or 1.0) * 1e-4
    rng = np.random.default_rng(seed)
    start = start + rng.normal(scale=1e-8, size=start.shape)  # equal rows must be able to part
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TSNE(
            perplexity=perplexity,
            learning_rate="auto",
            initialization=start,
            neighbors="exact" if len(scores) <= 5000 else "approx",
            negative_gradient_method="bh" if len(scores) <= 3000 else "fft",
            n_jobs=1,  # sums in another order would give another map
            random_state=seed,
        )
        place = np.array(model.fit(scores), dtype=np.float64)
    if not np.isfinite(place).all():
        raise ValueError("the map is not finite")
    return place


def components(centred: Floats) -> tuple[Floats, Floats]:
    """Scores on the principal components that carry variance, at most 50, and the shares of the variance of all that do."""
    small = centred.shape[1] <= len(centred)
    square = centred.T @ centred if small else centred @ centred.T
    values, vectors = np.linalg.eigh(square)
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = values > max(values[0], 0.0) * 1e-10
    if values[0] <= 0:
        return np.zeros((len(centred), 0)), np.zeros(0)
    shares = values[keep] / values[keep].sum()
    vectors = vectors[:, keep][:, :COMPONENTS]
    scores = centred @ vectors if small else vectors * np.sqrt(values[keep][:COMPONENTS])
    sign = np.sign(scores[np.abs(scores).argmax(0), np.arange(scores.shape[1])])  # eigenvectors have no sign of their own
    return scores * sign, shares


def measure(scores: Floats, labels: NDArray[Any] | None, place: Floats | None, notes: list[str]) -> dict[str, float | None]:
    """k-NN accuracy and silhouette of the labels in the layer, trustworthiness of the map."""
    found: dict[str, float | None] = {}
    squares = (scores**2).sum(1)
    distance = np.maximum(squares[:, None] + squares[None, :] - 2 * scores @ scores.T, 0.0)
    if labels is not None:
        _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
        found["chance"] = float(counts.max() / len(own))
        if len(counts) < 2:
            notes.append("the samples have one class only")
        elif place is not None:
            found["knn_accuracy"] = knn_accuracy(distance, own, len(counts))
            found["silhouette"] = silhouette(np.sqrt(distance), own, counts)
        else:
            found["knn_accuracy"] = found["chance"]
    if place is not None:
        from sklearn.manifold import trustworthiness

        k = min(NEIGHBOURS, (len(scores) - 1) // 2)
        found["trustworthiness"] = float(trustworthiness(scores, place, n_neighbors=k))
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def knn_accuracy(distance: Floats, own: Ints, classes: int, k: int = NEIGHBOURS) -> float:
    """Share of samples whose class is that of most of their ``k`` nearest others; ties go to the smallest class number."""
    n = len(own)
    k = min(k, n - 1)
    apart = distance.copy()
    np.fill_diagonal(apart, np.inf)
    nearest = np.argpartition(apart, k - 1, axis=1)[:, :k] if k < n - 1 else np.argsort(apart, axis=1)[:, :k]
    votes = np.zeros((n, classes), dtype=np.int64)
    np.add.at(votes, (np.repeat(np.arange(n), k), own[nearest].reshape(-1)), 1)
    return float((votes.argmax(1) == own).mean())


def silhouette(distance: Floats, own: Ints, counts: Ints) -> float:
    """Mean over samples of (b − a) / max(a, b): a to the own class, b to the nearest other; 0 for a class of one.

    References:
        Rousseeuw, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, J. Comput. Appl. Math. 20 (1987).
    """
    sums = distance @ np.eye(len(counts))[own]
    rows = np.arange(len(own))
    inner = sums[rows, own] / np.maximum(counts[own] - 1, 1)
    outer = sums / counts
    outer[rows, own] = np.inf
    other = outer.min(1)
    larger = np.maximum(inner, other)
    score = np.divide(other - inner, larger, out=np.zeros(len(own)), where=(larger > 0) & (counts[own] > 1))
    return float(score.mean())


def subsample(rows: Ints, cap: int, labels: NDArray[Any] | None, seed: int) -> Ints:
    """At most ``cap`` rows, ascending; with labels in the shares of the classes, at least one of each where the cap allows."""
    if len(rows) <= cap:
        return rows
    rng = np.random.default_rng(seed)
    if labels is None:
        return np.sort(rng.choice(rows, cap, replace=False))
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = rng.permutation(len(rows))
    order = order[np.argsort(own[order], kind="stable")]
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    depth = (within + 0.5) / counts[own[order]]
    depth[within == 0] = 0.0
    return np.sort(rows[order[np.argsort(depth, kind="stable")[:cap]]])
