"""Panels of values instead of classes: predictions against targets, and how residuals are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from diagnose.report.drawing_parts import TALL, WIDE, Place, dots, name_margin, panel_size, short, tick, values
from diagnose.report.panels import GUIDE, INK, PETROFF
from diagnose.report.text import clean


def draw_agreement(place: Place, title: str, *, x: Sequence[float], y: Sequence[float], xlabel: str, ylabel: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax = place.axes(WIDE, TALL, left=0.72, right=0.2, top=0.38, bottom=0.5)
    across, down = values(x), values(y)
    both = np.concatenate([across, down])
    ends = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    ax.plot(ends, ends, color=GUIDE, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    dots(ax, across, down, PETROFF[0], float(np.clip(80 / math.sqrt(max(1, len(across))), 1.7, 4.2)), reach=(ends[1] - ends[0]) or 1.0)
    ax.set_xlim(*padded(across))
    ax.set_ylim(*padded(down))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(tick))
    ax.grid(color=INK, alpha=0.1, linewidth=0.6)
    ax.set_title(title)
    ax.set_xlabel(clean(xlabel), alpha=0.75)
    ax.set_ylabel(clean(ylabel), alpha=0.75)
    ax.text(1, 1.02, "┄ as predicted", transform=ax.transAxes, ha="right", size=8, alpha=0.75)


def padded(numbers: Any) -> tuple[float, float]:
    """Limits of an axis that leave a little room at both ends."""
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.5
    return low - room, high + room


def draw_histogram(place: Place, title: str, *, edges: Sequence[float], count: Sequence[int]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax = place.axes(WIDE, TALL, left=0.72, right=0.2, top=0.38, bottom=0.5)
    ax.bar(edges[:-1], count, width=np.diff(edges), align="edge", color=PETROFF[0], alpha=0.75, linewidth=0)
    ax.axvline(0.0, color=GUIDE, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    ax.set_xlim(*padded(np.array([min(0.0, edges[0]), max(0.0, edges[-1])])))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(tick))
    ax.grid(axis="y", color=INK, alpha=0.1, linewidth=0.6)
    ax.set_title(title)
    ax.set_ylabel("samples", alpha=0.75)


def draw_intervals(
    place: Place,
    title: str,
    *,
    names: Sequence[str],
    value: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    colours: Sequence[str],
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    width, height = panel_size({"kind": "intervals", "names": names})
    ax = place.axes(width, height, left=name_margin(names) - 0.2, right=0.2, top=0.38, bottom=0.42)
    for row, (at, start, end, colour) in enumerate(zip(value, low, high, colours, strict=True)):
        ax.plot((start, end), (row, row), color=colour, linewidth=1.4, solid_capstyle="butt")
        ax.plot([at], [row], "o", color=colour, markersize=4.5)
    ax.set_yticks(range(len(names)), [short(n) for n in names], size=8.5)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(tick))
    ax.grid(axis="x", color=INK, alpha=0.1, linewidth=0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_title(title)
    ax.text(1, 1.02, "95 % intervals", transform=ax.transAxes, ha="right", size=8, alpha=0.75)
