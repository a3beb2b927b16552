"""A picture drawn once, as SVG panels that the page arranges and the file puts on one sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diagnose.report.values import Picture

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Drawn:
    """The panels of a picture as SVG, and how much room they need."""

    size: str
    panels: tuple[Markup, ...]


def draw_panels(picture: Picture) -> Drawn:
    """Draw each panel of a picture."""
    from markupsafe import Markup

    from diagnose.report.drawing import panel_size
    from diagnose.report.figures import panel_figure
    from diagnose.report.svg import inline_svg

    width = max((panel_size({**picture.shared, **panel})[0] for panel in picture.panels), default=0.0)
    kinds = {({**picture.shared, **panel})["kind"] for panel in picture.panels}
    if width > 8:
        size = "large"
    elif kinds & {"matrix", "points", "reliability", "bars"}:
        size = "medium wide" if width > 6.5 else "medium"
    else:
        size = "four" if len(picture.panels) == 4 else "small"
    svgs = (
        inline_svg(panel_figure(picture, i), name=f"{picture.name}-{i}", alt=picture.alt if i == 0 else f"{picture.title}, panel {i + 1}")
        for i in range(len(picture.panels))
    )
    return Drawn(size, tuple(Markup(svg) for svg in svgs))
