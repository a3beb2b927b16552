"""What every kind of panel is drawn with: its place and size, names cut to length, ticks, dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.report.panels import WIDEST
from diagnose.report.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.4, 2.8  # of a panel of curves, in inches
WIDE, TALL = 5.6, 4.7  # of a panel that stands two in a row
ACROSS, DOWN = 9.0, 3.7  # of parallel coordinates, in inches


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel stands in a figure: inches from the left and from the bottom to its upper left corner."""

    figure: Figure
    left: float
    top: float

    def axes(self, width: float, height: float, *, left: float, right: float, top: float, bottom: float) -> Axes:
        """Axes in a panel of this size, with margins in inches."""
        across, down = self.figure.get_size_inches()
        box = (self.left + left, self.top - height + bottom, width - left - right, height - top - bottom)
        return self.figure.add_axes((box[0] / across, box[1] / down, box[2] / across, box[3] / down))


def panel_size(panel: Mapping[str, Any]) -> tuple[float, float]:
    """Inches across and down."""
    if panel["kind"] == "matrix":
        count = len(panel["matrix"])
        side = 3.6 if count <= 6 or count > WIDEST else min(9.0, 1.4 + 0.36 * count)
        left, bottom = matrix_margins(panel["names"]) if count <= WIDEST else (0.5, 0.5)
        return side + left + 0.25, side + bottom + 0.4
    if panel["kind"] == "bars":
        return WIDE, max(TALL, 0.9 + 0.3 * len(panel["names"]))
    if panel["kind"] == "intervals":
        return WIDE, 0.95 + 0.24 * len(panel["names"])
    if panel["kind"] == "parallel":
        return ACROSS, DOWN
    if panel.get("unit"):
        return WIDTH, WIDTH
    if panel.get("small"):
        return WIDTH, WIDTH * TALL / WIDE
    return (WIDE, TALL) if panel["kind"] in ("points", "reliability", "agreement", "histogram") else (WIDTH, HEIGHT)


def name_margin(names: Sequence[str]) -> float:
    """Inches that the longest name takes, cut to `short` length."""
    return 0.55 + 0.085 * max((len(short(n)) for n in names), default=1)


def upright(names: Sequence[str]) -> bool:
    """Whether the names stand side by side below a matrix without turning them."""
    return max((len(short(n)) for n in names), default=1) <= 26 // max(1, len(names))


def matrix_margins(names: Sequence[str]) -> tuple[float, float]:
    """Inches left of a matrix and below it."""
    left = name_margin(names)
    return left, 0.6 if upright(names) else left


def short(name: str, limit: int = 18) -> str:
    text = " ".join(clean(name).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def values(raw: Sequence[float | None]) -> Any:
    return np.array([np.nan if v is None else v for v in raw], dtype=np.float64)


def tick(value: float, _: object = None) -> str:
    """A number on an axis, short enough to stand there."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}".replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")


def dots(ax: Axes, x: Any, y: Any, colour: str, size: float, reach: float = 1000.0) -> None:
    """Dots as one path of tiny strokes with round ends: a tenth of the bytes of markers in SVG."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    places = np.empty((2 * len(x), 2))
    places[0::2, 0], places[1::2, 0] = x, x + 1e-5 * reach
    places[0::2, 1] = places[1::2, 1] = y
    path = Path(places, np.tile([Path.MOVETO, Path.LINETO], len(x)))
    path.should_simplify = False
    ax.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=size, capstyle="round", snap=False))
