"""How each kind of panel is drawn: lines, matrices, maps of samples, reliability, bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.report.drawing_parts import (
    HEIGHT,
    TALL,
    WIDE,
    WIDTH,
    Place,
    dots,
    matrix_margins,
    name_margin,
    panel_size,
    short,
    tick,
    upright,
    values,
)
from diagnose.report.drawing_search import draw_parallel, draw_scatter
from diagnose.report.drawing_values import draw_agreement, draw_histogram, draw_intervals
from diagnose.report.panels import GUIDE, INK, PETROFF, WIDEST
from diagnose.report.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 10  # samples of a bin of confidence; the accuracy of fewer is chance
RIGHT, WRONG = (0.16, 0.42, 0.78), (0.85, 0.33, 0.10)  # cells on and off the diagonal
FULLEST = 0.78  # opacity of the fullest cell: the page's own ink is read on it with a contrast of 4.5, in light and in dark


def draw_panel(place: Place, panel: Mapping[str, Any]) -> None:
    """Draw one panel into a figure or a part of one."""
    arguments = {k: v for k, v in panel.items() if k not in ("kind", "title", "samples")}
    DRAW[panel["kind"]](place, clean(panel["title"]), **arguments)


def draw_lines(
    place: Place,
    title: str,
    *,
    xlabel: str,
    ylabel: str,
    lines: Sequence[Mapping[str, Any]],
    log: bool = False,
    guides: Sequence[Mapping[str, Any]] = (),
    limits: Sequence[float] | None = None,
    unit: bool = False,
    xlog: bool = False,
    marks: Sequence[Mapping[str, Any]] = (),
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    ax = place.axes(WIDTH, WIDTH if unit else HEIGHT, left=0.62, right=0.18, top=0.36, bottom=0.5)
    drawn = np.concatenate([values(curve["y"]) for curve in lines]) if lines else np.array([])
    log = log and bool((drawn[np.isfinite(drawn)] > 0).any())  # an empty log axis has no limits to draw
    for curve in lines:
        x, y = values(curve["x"]), values(curve["y"])
        known = np.isfinite(y) & ((y > 0) | (not log))
        if curve.get("low"):
            low, high = values(curve["low"]), values(curve["high"])
            ax.fill_between(x, np.where(known, low, np.nan), np.where(known, high, np.nan), color=curve["colour"], alpha=0.18, linewidth=0)
        ax.plot(
            x,
            np.where(known, y, np.nan),
            color=curve["colour"],
            linewidth=0.8 if curve.get("dash") or curve.get("faint") else 1.4,
            alpha=0.45 if curve.get("faint") else 1.0,
            linestyle="--" if curve.get("dash") else "-",
            marker="o" if known.sum() == 1 else None,
            markersize=4,
        )
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(numticks=6, subs=(1.0,) if decades(ax) > 1.5 else (1.0, 2.0, 5.0)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(FuncFormatter(tick))
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_formatter(FuncFormatter(tick))
    if unit:
        ax.set_xlim(0, 1.02)
        ax.xaxis.set_major_formatter(FuncFormatter(tick))
    elif xlog:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(numticks=7))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(FuncFormatter(tick))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    if limits and np.isfinite(limits).all() and limits[0] < limits[1]:  # a run that diverged has limits that say nothing
        ax.set_ylim(*limits)
    for mark in marks:
        ax.axvline(mark["x"], color=mark["colour"], linewidth=1.2, linestyle=(0, (4, 3)) if mark["dash"] else "-", alpha=0.75)
    for guide in guides:
        ax.axhline(guide["y"], color=GUIDE, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.55)
    if guides:
        ax.text(1, 1.045, f"┄ {clean(', '.join(g['label'] for g in guides))}", transform=ax.transAxes, ha="right", size=8, alpha=0.75)
    ax.grid(axis="y", color=INK, alpha=0.1, linewidth=0.6)
    ax.set_title(title)
    ax.set_xlabel(clean(xlabel), alpha=0.75)
    ax.set_ylabel(clean(ylabel), alpha=0.75)


def decades(ax: Axes) -> float:
    low, high = ax.get_ylim()
    return math.log10(high / low) if low > 0 else 9.0


def draw_matrix(
    place: Place, title: str, *, matrix: Sequence[Sequence[float]], names: Sequence[str], normalised: bool, classes: int
) -> None:
    table = np.asarray(matrix, dtype=np.float64).reshape(len(matrix), -1)
    count = len(table)
    width, height = panel_size({"kind": "matrix", "matrix": matrix, "names": names})
    named = count <= WIDEST
    left, bottom = matrix_margins(names) if named else (0.5, 0.5)
    ax = place.axes(width, height, left=left, right=0.25, top=0.4, bottom=bottom)
    strength = np.sqrt(table / (1.0 if normalised else max(1.0, table.max(initial=0.0))))
    cells = np.empty((count, count, 4))
    cells[..., :3] = np.where(np.eye(count, dtype=bool)[..., None] & (count == classes), RIGHT, WRONG)
    cells[..., 3] = np.clip(strength, 0, 1) * (FULLEST if named else 1.0)
    ax.imshow(cells, interpolation="none", aspect="equal")
    ax.set_title(title)
    ax.set_xlabel("Predicted", weight="bold")
    ax.set_ylabel("True", weight="bold")
    ax.spines[:].set_visible(True)
    ax.spines[:].set_alpha(0.5)
    if not named:
        ax.set_xticks([])
        ax.set_yticks([])
        note = "" if count == classes else f", summed into {count} × {count} blocks"
        ax.set_xlabel(f"Predicted ({classes:,} classes, ordered by confusion{note})", weight="bold", size=8)
        return
    labels = [short(n) for n in names]
    size = 8.5 if count <= 12 else 7.5
    ax.set_xticks(range(count), labels, size=size, rotation=0 if upright(names) else 90)
    ax.set_yticks(range(count), labels, size=size)
    ax.tick_params(length=0)
    for edge in np.arange(count - 1) + 0.5:
        ax.axhline(edge, color=INK, alpha=0.12, linewidth=0.5)
        ax.axvline(edge, color=INK, alpha=0.12, linewidth=0.5)
    for i, j in np.argwhere(table > 0).tolist():
        text = f"{table[i, j]:.2f}".lstrip("0") if normalised else compact(table[i, j])
        ax.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            size=9 if count <= 6 else 7.5 if count <= 12 else 6.5,
            color=INK,
        )


def compact(count: float) -> str:
    return f"{int(count):,}" if count < 1e4 else f"{count / 1e3:.0f}k" if count < 1e6 else f"{count / 1e6:.1f}M"


def draw_points(
    place: Place,
    title: str,
    *,
    x: Sequence[int],
    y: Sequence[int],
    colours: Sequence[str],
    group: Sequence[int],
    wrong: Sequence[int] = (),
    small: bool = False,
) -> None:
    wide, tall = panel_size({"kind": "points", "small": small})
    ax = place.axes(wide, tall, left=0.12, right=0.12, top=0.34, bottom=0.1)
    across, down, member = np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.asarray(group, dtype=int)
    size = float(np.clip(80 / math.sqrt(max(1, len(across))), 1.7, 4.2))
    for k in np.unique(member).tolist():
        dots(ax, across[member == k], down[member == k], colours[k], size)
    if len(wrong):
        missed = np.asarray(wrong, dtype=int)
        dots(ax, across[missed], down[missed], INK, size * 1.9)
        for k in np.unique(member[missed]).tolist():
            here = missed[member[missed] == k]
            dots(ax, across[here], down[here], colours[k], size * 1.25)
    reach_x, reach_y = (float(np.ptp(v)) if len(v) else 1.0 for v in (across, down))
    scale = 1.06 * max(reach_x / (wide - 0.24), reach_y / (tall - 0.44), 1e-9) / 2  # one unit is as long across as down
    middle_x, middle_y = (float(v.min() + v.max()) / 2 if len(v) else 0.0 for v in (across, down))
    ax.set_xlim(middle_x - scale * (wide - 0.24), middle_x + scale * (wide - 0.24))
    ax.set_ylim(middle_y - scale * (tall - 0.44), middle_y + scale * (tall - 0.44))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_alpha(0.25)
    ax.set_title(title)


def draw_reliability(place: Place, title: str, *, confidence: Sequence[float], accuracy: Sequence[float], count: Sequence[int]) -> None:
    ax = place.axes(WIDE, TALL, left=0.62, right=0.3, top=1.15, bottom=0.5)
    top = place.axes(WIDE, TALL, left=0.62, right=0.3, top=0.42, bottom=TALL - 1.05)
    edges = np.linspace(0, 1, len(count) + 1)
    top.bar(edges[:-1], count, width=np.diff(edges), align="edge", color=PETROFF[0], alpha=0.45, linewidth=0)
    top.set_xlim(0, 1)
    top.set_axis_off()
    top.set_title(title)
    top.text(1, 1.02, "┄ as sure as right", transform=top.transAxes, ha="right", size=8, alpha=0.75)
    ax.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    sure = np.asarray(count) >= FEWEST
    few = (np.asarray(count) > 0) & ~sure
    ax.plot(values(confidence)[sure], values(accuracy)[sure], "-o", color=PETROFF[0], linewidth=1.4, markersize=4)
    ax.plot(values(confidence)[few], values(accuracy)[few], "o", color=PETROFF[0], markersize=3, alpha=0.4)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.grid(color=INK, alpha=0.1, linewidth=0.6)
    ax.set_xlabel("confidence", alpha=0.75)
    ax.set_ylabel("accuracy", alpha=0.75)


def draw_bars(place: Place, title: str, *, names: Sequence[str], bars: Sequence[Mapping[str, Any]]) -> None:
    width, height = panel_size({"kind": "bars", "names": names})
    ax = place.axes(width, height, left=name_margin(names) - 0.2, right=0.2, top=0.38, bottom=0.42)
    rows = np.arange(len(names))
    for i, bar in enumerate(bars):
        offset = (i - (len(bars) - 1) / 2) * 0.8 / len(bars)
        ax.barh(rows + offset, np.nan_to_num(values(bar["values"])), height=0.7 / len(bars), color=bar["colour"], linewidth=0)
    ax.set_yticks(rows, [short(n) for n in names], size=8.5)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    ax.grid(axis="x", color=INK, alpha=0.1, linewidth=0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_title(title)


DRAW: Mapping[str, Callable[..., None]] = {
    "lines": draw_lines,
    "matrix": draw_matrix,
    "points": draw_points,
    "reliability": draw_reliability,
    "bars": draw_bars,
    "scatter": draw_scatter,
    "agreement": draw_agreement,
    "parallel": draw_parallel,
    "histogram": draw_histogram,
    "intervals": draw_intervals,
}
