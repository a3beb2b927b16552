"""Measurements in, panels out: what a figure shows, as JSON values, before anything is drawn."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagnose.record import Series

INK = "#1c1e24"  # stands for the page's own text colour
TRAIN, VAL, GUIDE = "#3f90da", "#e76300", INK
# M. Petroff, Accessible Color Sequences for Data Visualization, arXiv:2107.02270: ten colours for normal and colour-blind eyes
PETROFF = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
DEPTH = ("#7d3fb8", "#3f6fd9", "#1797a8", "#6fae4a", "#e0a11c")  # first layer to last
LEGEND = 20  # more classes than this have no legend
WIDEST = 30  # matrices of more classes have no text in their cells
DRAWN = 200  # matrices of more classes are summed into this many blocks a side
POINTS = 240  # points per curve; longer curves become means with their range
LAYERS = 16  # layers per panel; of deeper models an even choice is shown


def colours(count: int) -> tuple[str, ...]:
    """A colour per class: Petroff's sequence up to ten, beyond it hues in three shades."""
    if count <= len(PETROFF):
        return PETROFF[:count]
    shades = ((0.52, 0.75), (0.38, 0.6), (0.66, 0.7))
    return tuple(hexadecimal(i / count, *shades[i % 3]) for i in range(count))


def ramp(count: int) -> tuple[str, ...]:
    """Colours from the first layer (violet) to the last (gold), apart in lightness for colour-blind eyes."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in DEPTH], dtype=np.float64)
    places = np.linspace(0, len(stops) - 1, count) if count > 1 else np.zeros(1)
    channels = [np.interp(places, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return tuple("#" + "".join(f"{round(v):02x}" for v in colour) for colour in zip(*channels, strict=True))


def hexadecimal(hue: float, light: float, saturation: float) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colorsys.hls_to_rgb(hue, light, saturation))


def finite(values: NDArray[np.float64]) -> list[float | None]:
    """Four significant digits, ``None`` where a value is not finite."""
    return [float(f"{v:.4g}") if ok else None for v, ok in zip(values.tolist(), np.isfinite(values).tolist(), strict=True)]


def line(
    x: ArrayLike, y: ArrayLike, label: str, colour: str, *, points: int = POINTS, dash: bool = False, band: bool = True
) -> dict[str, Any]:
    """One curve; a long one is cut into ``points`` pieces, each drawn as its mean with its lowest and highest value."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    curve = {"label": label, "colour": colour, "dash": dash}
    if len(x) <= points:
        return {**curve, "x": finite(x), "y": finite(y)}
    starts = np.linspace(0, len(x), points + 1).astype(int)[:-1]
    known = np.isfinite(y)
    count = np.add.reduceat(known, starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.add.reduceat(np.where(known, y, 0.0), starts) / count
    curve |= {"x": finite(x[starts]), "y": finite(mean)}
    if band:
        low, high = np.minimum.reduceat(np.where(known, y, np.inf), starts), np.maximum.reduceat(np.where(known, y, -np.inf), starts)
        curve |= {"low": finite(low), "high": finite(high)}
    return curve


def layered(series: Series) -> tuple[list[dict[str, Any]], tuple[tuple[str, str], ...]]:
    """One curve per layer, coloured from first to last, and their legend."""
    chosen = chosen_layers(series)
    shades = ramp(len(chosen))
    curves = [
        line(series.step, series.value[:, column], name, shade, points=POINTS // 2, band=False)
        for (column, name), shade in zip(chosen, shades, strict=True)
    ]
    return curves, tuple((name, shade) for (_, name), shade in zip(chosen, shades, strict=True))


def chosen_layers(series: Series) -> list[tuple[int, str]]:
    """Columns and names of at most `LAYERS` layers, the first and the last among them."""
    width = series.value.shape[1]
    names = series.labels or tuple(str(i) for i in range(width))
    picked = sorted(set(np.linspace(0, width - 1, min(width, LAYERS)).round().astype(int).tolist()))
    return [(i, names[i]) for i in picked]


def lines(
    title: str, curves: Sequence[Mapping[str, Any]], *, ylabel: str = "", xlabel: str = "optimizer step", **extra: Any
) -> dict[str, Any]:
    """A panel of curves; ``extra`` may hold ``log``, ``xlog``, ``guides``, ``marks`` (upright lines), ``limits`` and ``unit``."""
    return {"kind": "lines", "title": title, "xlabel": xlabel, "ylabel": ylabel, "lines": list(curves), **extra}


def matrix(counts: ArrayLike, names: Sequence[str] | None = None, *, normalise: bool = False) -> dict[str, Any]:
    """A panel with a confusion matrix; rows are true classes, columns are predicted classes.

    More than `WIDEST` classes are ordered so that those that are confused stand together; more than `DRAWN` are summed into blocks.
    """
    table = np.asarray(counts, dtype=np.float64)
    size = len(table)
    title = "Share of each true class" if normalise else "Counts"
    names = list(names) if names is not None else [str(i) for i in range(size)]
    if size > WIDEST:
        order = clustered(table)
        table, names = table[np.ix_(order, order)], [names[i] for i in order]
    if size > DRAWN:
        starts = np.linspace(0, size, DRAWN + 1).astype(int)[:-1]
        table, names = np.add.reduceat(np.add.reduceat(table, starts, axis=0), starts, axis=1), []
    if normalise:
        total = table.sum(axis=1, keepdims=True)
        table = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    cells = [[float(f"{v:.4g}") if normalise else int(v) for v in row] for row in table.tolist()]
    return {"kind": "matrix", "title": title, "matrix": cells, "names": names, "normalised": normalise, "classes": size}


def clustered(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of the classes in which those that are confused with each other are neighbours."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    distance = 1.0 - np.clip((share + share.T) / 2, 0, 1)
    np.fill_diagonal(distance, 0.0)
    order: NDArray[np.int64] = leaves_list(linkage(squareform(distance, checks=False), method="average")).astype(np.int64)
    return order


def points(
    xy: ArrayLike, target: ArrayLike, prediction: ArrayLike | None, names: Sequence[str] | None = None
) -> tuple[tuple[dict[str, Any], ...], dict[str, Any], tuple[tuple[str, str], ...]]:
    """Panels, shared arguments and legend of a map of samples, coloured by true and by predicted class."""
    place = np.asarray(xy, dtype=np.float64)
    true = np.asarray(target).astype(int)
    guess = None if prediction is None else np.asarray(prediction).astype(int)
    classes = 1 + max(int(true.max(initial=0)), 0 if guess is None else int(guess.max(initial=0)), len(names or ()) - 1)
    names = [*(names or ()), *(str(i) for i in range(len(names or ()), classes))]
    palette = colours(classes)
    span = float(np.ptp(place, axis=0).max()) if len(place) else 1.0
    scaled = (place - place.min(axis=0)) / (span or 1.0) * 1000 if len(place) else place
    wrong = [] if guess is None else np.flatnonzero(true != guess).tolist()
    shared = {
        "kind": "points",
        "x": scaled[:, 0].round().astype(int).tolist(),
        "y": scaled[:, 1].round().astype(int).tolist(),
        "colours": palette,
    }
    panels = [{"title": "Coloured by true class", "group": true.tolist()}]
    if guess is not None:
        errors = f"; {len(wrong):,} error{'' if len(wrong) == 1 else 's'} ringed"
        panels.append({"title": f"Predicted class{errors}", "group": guess.tolist(), "wrong": wrong})
    present = sorted(set(true.tolist()) | (set() if guess is None else set(guess.tolist())))
    legend = tuple((names[i], palette[i]) for i in present) if len(present) <= LEGEND else ()
    return tuple(panels), shared, legend
