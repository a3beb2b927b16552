"""Panels of a search: scores over trials and over a hyper-parameter, and parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.report.drawing_parts import ACROSS, DOWN, HEIGHT, WIDTH, Place, short, tick, values
from diagnose.report.panels import INK, TRAIN
from diagnose.report.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEST, REST = "#bd1f01", "#94a4a2"  # the best trial and the others


def set_scale(ax: Axes, scale: str) -> None:
    """The horizontal axis as the scale of a dimension reads: logarithmic, or logarithmic in the distance from 1."""
    if scale == "log":
        ax.set_xscale("log")
    elif scale == "one_minus":
        ax.set_xscale("function", functions=(lambda v: -np.log10(np.clip(1 - v, 1e-9, None)), lambda v: 1 - 10.0**-v))


def draw_scatter(
    place: Place,
    title: str,
    *,
    xlabel: str,
    ylabel: str,
    groups: Sequence[Mapping[str, Any]],
    line: Sequence[float | None] = (),
    scale: str = "linear",
    log: bool = False,
    names: Sequence[str] = (),
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    ax = place.axes(WIDTH, HEIGHT, left=0.68, right=0.18, top=0.36, bottom=0.5)
    set_scale(ax, scale)
    if log:
        ax.set_yscale("log")
    for group in groups:
        x, y, marker = values(group["x"]), values(group["y"]), group.get("marker", "o")
        ax.plot(x, y, marker, color=group["colour"], markersize=4.2, markeredgewidth=1.1, alpha=0.85)
    if len(line):
        ax.step(np.arange(len(line)), values(line), where="post", color=TRAIN, linewidth=1.3)
    shown = [v for group in groups for v in group["x"] if v is not None]
    if names:
        ax.set_xticks(range(len(names)), [short(n, 12) for n in names], size=8)
        ax.set_xlim(-0.5, len(names) - 0.5)
    elif scale == "one_minus" and shown:
        low, high = min(shown), max(shown)
        marks = [v for v in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999) if low - 1e-9 <= v <= high + 1e-9]
        ax.xaxis.set_major_locator(FixedLocator(marks or [low, high]))
        ax.xaxis.set_minor_locator(NullLocator())
    elif scale == "log":
        ax.xaxis.set_major_locator(LogLocator(numticks=6, subs=(1.0,) if shown and max(shown) > 30 * min(shown) else (1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=all(isinstance(v, int) for v in shown)))
    if not names:
        ax.xaxis.set_major_formatter(FuncFormatter(tick))
    ax.yaxis.set_major_locator(LogLocator(numticks=6, subs=(1.0, 2.0, 5.0)) if log else MaxNLocator(5))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(tick))
    ax.grid(axis="y", color=INK, alpha=0.1, linewidth=0.6)
    ax.set_title(title)
    ax.set_xlabel(clean(xlabel), alpha=0.75)
    ax.set_ylabel(clean(ylabel), alpha=0.75)


def draw_parallel(place: Place, title: str, *, axes: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]) -> None:
    """A line per trial through its place (0 … 1) on every axis; the better the later and the bluer it is drawn."""
    ax = place.axes(ACROSS, DOWN, left=0.5, right=0.9, top=0.75, bottom=0.3)
    for trial in trials:
        ax.plot(range(len(axes)), trial["at"], color=trial["colour"], linewidth=trial["width"], alpha=trial["alpha"])
    for index, axis in enumerate(axes):
        ax.axvline(index, color=INK, linewidth=0.7, alpha=0.6)
        for where, label in axis["ticks"]:
            ax.text(index + 0.03, where, short(label, 14), size=8, va="center", bbox={"facecolor": "white", "alpha": 0.0, "pad": 0.5})
        ax.text(index, 1.07, short(axis["name"], 20), size=8.5, weight="bold", ha="center")
    ax.set_xlim(-0.15, len(axes) - 0.7)
    ax.set_ylim(-0.05, 1.04)
    ax.set_axis_off()
    ax.set_title(title, pad=22)
