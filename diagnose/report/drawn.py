"""A picture drawn once, as SVG panels that the page arranges and the file puts on one sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diagnose.report.values import Picture

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

KNOWN = 4000  # cells of a matrix that are named under the pointer


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawn panel, and what the page's script needs to say what lies under the pointer."""

    svg: Markup
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawn:
    """The panels of a picture, and how much room they need."""

    size: str
    panels: tuple[Panel, ...]


def draw_panels(picture: Picture) -> Drawn:
    """Draw each panel of a picture."""
    from markupsafe import Markup

    from diagnose.report.drawing_parts import panel_size
    from diagnose.report.figures import panel_figure
    from diagnose.report.svg import inline_svg

    whole = [{**picture.shared, **panel} for panel in picture.panels]
    width = max((panel_size(panel)[0] for panel in whole), default=0.0)
    kinds = {panel["kind"] for panel in whole}
    if width > 8:
        size = "large"
    elif kinds <= {"points"} and len(whole) > 2:
        size = "four" if len(whole) == 4 else "small"
    elif kinds & {"matrix", "points", "reliability", "bars", "agreement", "histogram", "intervals"}:
        size = "medium wide" if width > 6.5 else "medium"
    else:
        size = "four" if len(whole) == 4 else "small"
    panels = []
    for i, panel in enumerate(whole):
        figure = panel_figure(picture, i)
        alt = picture.alt if i == 0 else f"{picture.title}: {panel['title']}"
        panels.append(Panel(Markup(inline_svg(figure, name=f"{picture.name}-{i}", alt=alt)), data(panel, figure)))
    return Drawn(size, tuple(panels))


def data(panel: Mapping[str, Any], figure: Figure) -> dict[str, str]:
    """What stands under the pointer, as ``data-*`` attributes; empty for panels that are only looked at."""
    if panel["kind"] == "matrix" and panel["classes"] == len(panel["matrix"]):
        if panel["normalised"]:  # its counts stand in the panel beside it
            return {"box": box(figure), "matrix": "{}"}
        cells = [[i, j, value] for i, row in enumerate(panel["matrix"]) for j, value in enumerate(row) if value]
        if len(cells) > KNOWN:
            return {}
        known = {"matrix": {"names": panel["names"], "cells": cells, "samples": panel.get("samples")}}
    elif panel["kind"] == "points":
        axes = figure.axes[0]
        limits = [*axes.get_xlim(), *axes.get_ylim()]
        arrays = {k: panel[k] for k in ("x", "y")}
        known = {"points": {**arrays, "limits": [round(v, 1) for v in limits], **(panel.get("samples") or {})}}
    else:
        return {}
    return {"box": box(figure), **{k: json.dumps(v, separators=(",", ":"), ensure_ascii=False) for k, v in known.items()}}


def box(figure: Figure) -> str:
    """Where the axes stand in the SVG: left, top, width, height."""
    across, down = (72 * side for side in figure.get_size_inches())
    place = figure.axes[0].get_position()
    return " ".join(f"{v:.1f}" for v in (place.x0 * across, (1 - place.y1) * down, place.width * across, place.height * down))
