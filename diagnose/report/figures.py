"""Panels in, matplotlib figures out: no pyplot, no settings that outlive a call, no name ever read as a formula."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.report.drawing import draw_panel
from diagnose.report.drawing_parts import HEIGHT, WIDTH, Place, panel_size
from diagnose.report.panels import INK, matrix, points
from diagnose.report.text import clean
from diagnose.report.values import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 9.5,
    "font.family": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # said, it is not searched for: a quarter of the drawing time
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "figure.facecolor": "none",
    "svg.fonttype": "none",
    "legend.frameon": False,
}


@contextmanager
def style(salt: str = "diagnose") -> Iterator[None]:
    """Our settings inside, the caller's settings afterwards; glyphs that the font lacks raise no warning."""
    import warnings

    import matplotlib

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph")
        yield


def confusion_figure(counts: ArrayLike, class_names: Sequence[str] | None = None, *, normalise: bool = False) -> Figure:
    """A confusion matrix: rows are true classes, columns are predicted classes.

    Args:
        counts: Samples per true and predicted class, shape ``(K, K)``. Above 30 classes the cells have no text and classes that are
            confused stand together.
        class_names: A name per class; their numbers by default.
        normalise: Show shares of each row.

    Raises:
        ValueError: ``counts`` is not square, or there is another number of names than of classes.
    """
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"expected a square matrix of counts, got shape {table.shape!r}: rows are true, columns are predicted classes")
    if class_names is not None and len(class_names) != len(table):
        raise ValueError(f"expected {len(table)} class names, one per row of the matrix, got {len(class_names)}: {list(class_names)[:5]!r}")
    return draw(Picture(name="confusion", title="", alt="", panels=(matrix(table, class_names, normalise=normalise),)))


def embedding_figure(
    xy: ArrayLike, target: ArrayLike, prediction: ArrayLike | None = None, class_names: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """A map of samples, coloured by true and, beside it, by predicted class.

    Args:
        xy: Places, shape ``(n, 2)``.
        target: True classes, shape ``(n,)``.
        prediction: Predicted classes, shape ``(n,)``.
        class_names: A name per class; their numbers by default.
        title: Heading of the figure.

    Raises:
        ValueError: ``xy`` is not of shape ``(n, 2)``.
    """
    place = np.asarray(xy)
    if place.ndim != 2 or place.shape[1] != 2:
        raise ValueError(f"expected places of shape (n, 2), got {place.shape!r}")
    panels, shared, legend = points(place, target, prediction, class_names)
    return draw(Picture(name="embedding", title=title, alt="", panels=panels, shared=shared, legend=legend))


def draw(picture: Picture) -> Figure:
    """A picture as one figure: panels in up to three columns, the title above, the legend below."""
    from matplotlib.figure import Figure

    with style(picture.name):
        sizes = [panel_size({**picture.shared, **panel}) for panel in picture.panels]
        columns = min(3 if len(sizes) != 4 else 2, max(1, len(sizes)))
        rows = max(1, math.ceil(len(sizes) / columns))
        width, height = max((w for w, _ in sizes), default=WIDTH), max((h for _, h in sizes), default=HEIGHT)
        shown = picture.legend if len(picture.legend) > 1 else ()
        entries = [clean(label)[:28] for label, _ in shown]
        across = max(1, int(width * columns / (0.5 + 0.085 * max(map(len, entries), default=1))))
        head, foot = 0.42 if picture.title else 0.0, 0.22 * math.ceil(len(entries) / across) + (0.15 if entries else 0.0)
        total = height * rows + head + foot
        figure = Figure(figsize=(width * columns, total))
        for i, panel in enumerate(picture.panels):
            row, column = divmod(i, columns)
            draw_panel(Place(figure, width * column, total - head - height * row), {**picture.shared, **panel})
        if picture.title:
            figure.text(0.12 / figure.get_figwidth(), 1 - 0.14 / total, clean(picture.title), va="top", weight="bold", size=11.5)
        for i, (label, (_, colour)) in enumerate(zip(entries, shown, strict=True)):
            x, y = (i % across) / across + 0.1 / figure.get_figwidth(), (foot - 0.14 - 0.22 * (i // across)) / total
            figure.text(x, y, "■", color=colour, va="center", size=9)
            figure.text(x + 0.16 / figure.get_figwidth(), y, label, va="center", size=8.5)
        return figure


def panel_figure(picture: Picture, index: int) -> Figure:
    """One panel of a picture as a figure of its own."""
    from matplotlib.figure import Figure

    panel = {**picture.shared, **picture.panels[index]}
    with style(f"{picture.name}-{index}"):
        figure = Figure(figsize=panel_size(panel))
        draw_panel(Place(figure, 0.0, figure.get_figheight()), panel)
        return figure
