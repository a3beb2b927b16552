"""A map of a hidden layer in the plane, and the numbers that say what the map shows.

t-SNE as its authors advise today: start from principal components, learning rate n / exaggeration, perplexity at most (n − 1) / 3, on at
most 128 principal components, with a fixed seed. A map of another layer or epoch of the same samples starts from the one before and is
turned to lie as that does, and new samples are placed into a map that stays as it is. Distances between clusters and cluster sizes have
no meaning in such a map.

References:
    van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9 (2008).
    Kobak and Berens, The art of using t-SNE for single-cell transcriptomics, Nature Communications 10 (2019).
    Belkina et al., Automated optimized parameters for t-SNE, Nature Communications 10 (2019): learning rate.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.neighbourhood import measure
from diagnose.measure.plane_maps import FEWEST, place

COMPONENTS = 128
METHODS = ("t-SNE", "PCA", "UMAP")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inside:
    """How a map was made, so that more samples can be placed in it."""

    mean: Floats
    scale: float
    vectors: Floats
    map: Any
    turn: Floats

    def place(self, centred: Floats) -> Floats:
        """Places of centred and scaled rows: of t-SNE and UMAP where their neighbours in the layer stand, else their components."""
        scores = centred @ self.vectors
        if self.map is None:
            plane = np.zeros((len(scores), 2))
            plane[:, : min(2, scores.shape[1])] = scores[:, :2]
            return plane
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array(self.map.transform(scores), dtype=np.float64) @ self.turn


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """A map and what it shows.

    Attributes:
        xy: Places, shape ``(m, 2)``; ``(0, 2)`` where no map can be made.
        rows: Which rows of the features are shown, shape ``(m,)``, ascending.
        method: ``"t-SNE"``, ``"PCA"``, ``"UMAP"`` or ``"none"``.
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
        inside: What `transform` needs.
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
    inside: Inside | None = None

    def transform(self, features: NDArray[Any]) -> Floats:
        """Places of new rows of the same layer in this map, which stays as it is.

        Args:
            features: Shape ``(m, d)``.

        Returns:
            Places, shape ``(m, 2)``; NaN for rows that are not finite.

        Raises:
            ValueError: There is no map, or the rows have another number of features.
        """
        table = np.asarray(features)
        if self.inside is None:
            raise ValueError(f"there is no map to place samples in: {self.note or 'none was made'}")
        if table.ndim != 2 or table.shape[1] != self.dim:
            raise ValueError(f"expected features of shape (m, {self.dim}), as the map was made of, got {table.shape!r}")
        place = np.full((len(table), 2), np.nan)
        rows = np.isfinite(table).all(1)
        if rows.any():
            place[rows] = self.inside.place((table[rows].astype(np.float64) - self.inside.mean) / self.inside.scale)
        return place

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("xy", "rows", "inside")}


def project(
    features: NDArray[Any],
    *,
    seed: int = 0,
    cap: int = 5000,
    perplexity: float = 30.0,
    labels: Sequence[int] | NDArray[Any] | None = None,
    method: str = "t-SNE",
    start: Embedding | None = None,
) -> Embedding:
    """Map the rows of ``features`` into the plane.

    Args:
        features: Shape ``(n, d)``; rows with NaN or infinities are left out.
        seed: Seed of the choice of samples and of the map.
        cap: The most rows to show; of more, a choice with the shares of the labels.
        perplexity: Of t-SNE; lowered to (n − 1) / 3.
        labels: Classes of the rows, shape ``(n,)``, for the choice, k-NN accuracy and silhouette.
        method: ``"t-SNE"``, ``"PCA"`` or ``"UMAP"``, which needs umap-learn.
        start: A map of the same rows of another layer or epoch. This one shows the same samples, starts from there and is turned to
            lie as that does, so that the two can be compared.

    Raises:
        ValueError: ``features`` is not of shape ``(n, d)``, there is another number of labels than of rows, or the method is not known.
        ImportError: ``"UMAP"`` without umap-learn.
    """
    table = np.asarray(features)
    if table.ndim != 2:
        raise ValueError(f"expected features of shape (n, d), got {table.shape!r}: flatten them")
    if labels is not None and len(labels) != len(table):
        raise ValueError(f"expected a label for each of {len(table)} rows, got {len(labels)}")
    check_method(method)
    notes: list[str] = []
    rows = np.flatnonzero(np.isfinite(table).all(1))
    if len(rows) < len(table):
        notes.append(f"{len(table) - len(rows)} rows with NaN or infinity were left out")
    classes = None if labels is None else np.asarray(labels)
    if start is not None and len(start.rows) and int(start.rows.max()) < len(table):
        rows = np.intersect1d(rows, start.rows)
    else:
        start = None
        rows = subsample(rows, cap, None if classes is None else classes[rows], seed)
    shown = table[rows].astype(np.float64)
    classes = None if classes is None else classes[rows]
    known: dict[str, Any] = {"rows": rows, "n": len(rows), "cap": cap, "seed": seed, "dim": table.shape[1]}
    if len(rows) < FEWEST or not table.shape[1]:
        few = f"{len(rows)} usable samples are too few for a map, it needs {FEWEST}" if table.shape[1] else "the layer has no features"
        known |= {"rows": rows[:0], "n": 0}
        return Embedding(xy=np.zeros((0, 2)), method="none", perplexity=None, note="; ".join([*notes, few]), **known)
    mean = shown.mean(0)
    shown = shown - mean
    scale = float(np.abs(shown).max()) or 1.0
    shown /= scale  # so that squares neither overflow nor vanish
    scores, shares, vectors = components(shown)
    rank = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
    known["effective_rank"] = round(rank, 4)
    if not len(shares):
        known |= measure(shown, classes, None, notes)
        known |= {"rows": rows[:0]}
        return Embedding(xy=np.zeros((0, 2)), method="none", perplexity=None, note="; ".join([*notes, "the layer is constant"]), **known)
    distinct = len(np.unique(shown, axis=0))
    if distinct < len(shown):
        notes.append(f"only {distinct} of {len(shown)} rows are distinct")
    before = None if start is None else start.xy[np.searchsorted(start.rows, rows)]
    made = place(scores, distinct, seed, perplexity, notes, method, before)
    known |= measure(shown, classes, made.xy, notes)
    inside = Inside(mean=mean, scale=scale, vectors=vectors, map=made.map, turn=made.turn)
    return Embedding(xy=made.xy, method=made.method, perplexity=made.perplexity, note="; ".join(notes), inside=inside, **known)


def check_method(method: str) -> None:
    """Whether there is such a map, and what it needs.

    Raises:
        ValueError: There is none.
        ImportError: ``"UMAP"`` without umap-learn.
    """
    if method not in METHODS:
        raise ValueError(f"expected a map by {', '.join(METHODS)}, got {method!r}")
    if method == "UMAP" and find_spec("umap") is None:
        raise ImportError('a map by UMAP needs umap-learn, which is not installed: pip install umap-learn, or choose "t-SNE"')


def components(centred: Floats) -> tuple[Floats, Floats, Floats]:
    """Scores on the principal components that carry variance, at most 128, the shares of the variance of all that do, and their directions.

    Args:
        centred: Shape ``(n, d)``, of mean 0.

    Returns:
        Scores of shape ``(n, c)``, shares of all components, directions of shape ``(d, c)``.
    """
    small = centred.shape[1] <= len(centred)
    square = centred.T @ centred if small else centred @ centred.T
    values, vectors = np.linalg.eigh(square)
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = values > max(values[0], 0.0) * 1e-10
    if values[0] <= 0:
        return np.zeros((len(centred), 0)), np.zeros(0), np.zeros((centred.shape[1], 0))
    shares = values[keep] / values[keep].sum()
    vectors = vectors[:, keep][:, :COMPONENTS]
    strength = np.sqrt(values[keep][:COMPONENTS])
    scores, directions = (centred @ vectors, vectors) if small else (vectors * strength, centred.T @ vectors / strength)
    sign = np.sign(scores[np.abs(scores).argmax(0), np.arange(scores.shape[1])])  # eigenvectors have no sign of their own
    return scores * sign, shares, directions * sign


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
