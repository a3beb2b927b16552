from __future__ import annotations

import re
import warnings
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from diagnose.report import build_report
from diagnose.report.drawn import draw_panels
from diagnose.report.figures import confusion_figure, draw, embedding_figure, panel_figure
from diagnose.report.panels import INK, LAYERS, colours, line, matrix, ramp
from diagnose.report.svg import inline_svg, sheet
from tests.report.synthetic import HOSTILE, faulty, full_record


def counts(size: int) -> np.ndarray:
    rng = np.random.default_rng(size)
    table: np.ndarray = rng.poisson(0.4, (size, size))
    table[np.diag_indices(size)] += 30
    return table


def texts(figure: Figure) -> list[Text]:
    outside = set()  # matplotlib keeps ticks beyond the ends of an axis and does not draw them
    for axis in (a for ax in figure.axes for a in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        outside |= {id(label) for t in axis.get_major_ticks() if not low <= t.get_loc() <= high for label in (t.label1, t.label2)}
    return [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text() and t.get_visible() and id(t) not in outside]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes cut into each other by more than a pixel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts(figure)]
    found = []
    for (a, x), (b, y) in combinations(boxes, 2):
        if min(x.x1, y.x1) - max(x.x0, y.x0) > 1 and min(x.y1, y.y1) - max(x.y0, y.y0) > 1:
            found.append((a, b))
    return found


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("size", [2, 10, 30])
def test_a_confusion_matrix_is_readable(size: int, normalise: bool) -> None:
    figure = confusion_figure(counts(size), [f"a rather long name {i}" for i in range(size)], normalise=normalise)
    shown = [t.get_text() for t in texts(figure)]
    assert "True" in shown
    assert "Predicted" in shown
    assert overlaps(figure) == []


def luminance(colour: np.ndarray) -> float:
    """WCAG 2.2, relative luminance of an sRGB colour from 0 to 1."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_in_cells_have_contrast_in_light_and_dark(root: Path, dark: bool) -> None:
    css = (root / "diagnose/report/page.css").read_text(encoding="utf-8")
    papers, inks = (re.findall(rf"--{name}:(#[0-9a-f]+)", css) for name in ("paper", "ink"))
    paper, ink = (rgb(values[dark].ljust(7, values[dark][-1])) for values in (papers, inks))
    figure = confusion_figure(np.array([[50, 20, 0], [1, 50, 50], [50, 0, 3]]))
    assert {t.get_color() for t in figure.axes[0].texts} == {INK}  # on the page, its own ink
    (image,) = figure.axes[0].images
    for cell in np.asarray(image.get_array()).reshape(-1, 4):
        shown = cell[:3] * cell[3] + paper * (1 - cell[3])
        light, deep = sorted((luminance(shown), luminance(ink)), reverse=True)
        assert (light + 0.05) / (deep + 0.05) >= 4.5


def test_many_classes_have_no_cell_text_and_stand_by_confusion() -> None:
    table = np.eye(60, dtype=int) * 40
    for i in range(30):
        table[i, 59 - i] = 20
    panel = matrix(table)
    order = [int(n) for n in panel["names"]]
    assert all(abs(order.index(i) - order.index(59 - i)) == 1 for i in range(30))
    assert "Predicted (60 classes, ordered by confusion)" in [t.get_text() for t in texts(confusion_figure(table))]
    assert len(texts(confusion_figure(table))) < 6
    big = matrix(np.eye(1000, dtype=int))
    assert (len(big["matrix"]), int(np.sum(big["matrix"])), big["classes"]) == (200, 1000, 1000)


def test_rows_of_a_normalised_matrix_sum_to_one_and_empty_rows_to_zero() -> None:
    panel = matrix([[3, 1], [0, 0]], normalise=True)
    assert panel["matrix"] == [[0.75, 0.25], [0.0, 0.0]]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected a square matrix of counts, got shape \(2, 3\)"):
        confusion_figure(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="expected 2 class names, one per row of the matrix, got 1: \\['a'\\]"):
        confusion_figure(np.eye(2), ["a"])
    with pytest.raises(ValueError, match=r"expected places of shape \(n, 2\), got \(4, 3\)"):
        embedding_figure(np.zeros((4, 3)), np.zeros(4))


@pytest.mark.parametrize("count", [0, 1, 300])
def test_an_embedding_shows_both_colourings_and_a_legend(count: int) -> None:
    rng = np.random.default_rng(0)
    target = np.arange(count) % len(HOSTILE)
    figure = embedding_figure(rng.normal(size=(count, 2)), target, np.roll(target, 1), HOSTILE, title="$\\frac$")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph")
        assert overlaps(figure) == []
    shown = [t.get_text() for t in texts(figure)]
    assert "$\\frac$" in shown
    assert "Coloured by true class" in shown
    assert any(t.startswith("Predicted class") for t in shown)


def test_every_figure_of_a_report_is_free_of_overlap() -> None:
    for picture in build_report(full_record(batches=300), faulty()).pictures:
        assert overlaps(draw(picture)) == [], picture.name


def test_settings_of_the_caller_are_kept() -> None:
    before = dict(matplotlib.rcParams)
    confusion_figure(counts(3))
    assert dict(matplotlib.rcParams) == before


def test_svg_for_the_page_has_no_styles_and_takes_the_colour_of_the_page() -> None:
    for picture in build_report(full_record(HOSTILE, batches=300), faulty()).pictures:
        for index in range(len(picture.panels)):
            text = inline_svg(panel_figure(picture, index), name=f"{picture.name}-{index}", alt='a "quoted" <alt>')
            root = ElementTree.fromstring(text)
            assert not [e for e in root.iter() if "style" in e.attrib or e.tag in ("style", "script", "foreignObject")]
            assert root.get("aria-label") == 'a "quoted" <alt>'
            assert root.get("role") == "img"
            assert "currentColor" in text
            ids = re.findall(r' id="([^"]+)"', text)
            assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text)) <= set(ids)


def test_a_picture_is_one_sheet_on_white_of_the_panels_of_the_page() -> None:
    for picture in build_report(full_record(HOSTILE, batches=60), faulty()).pictures:
        panels = [panel.svg for panel in draw_panels(picture).panels]
        root = ElementTree.fromstring(sheet(picture, panels))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].get("fill") == "#ffffff"
        assert root.get("aria-label") == picture.alt
        inner = root.findall("{http://www.w3.org/2000/svg}svg")
        assert len(inner) == len(panels) == len({(p.get("x"), p.get("y")) for p in inner})
        assert all(float(p.get("x", -1)) + float(p.get("width", 0)) <= float(root.get("width", 0)) + 0.2 for p in inner)
        shown = [t.text for t in root.findall("{http://www.w3.org/2000/svg}text")]
        legend = [label[:28] for label, _ in picture.legend] if len(picture.legend) > 1 else []
        assert shown == [*([picture.title] if picture.title else []), *legend]


def test_long_curves_are_means_with_their_range() -> None:
    y = np.tile([1.0, 3.0], 5000)
    y[17] = np.nan
    curve = line(np.arange(10_000), y, "loss", "#000000", points=100)
    assert (len(curve["x"]), set(curve["low"]), set(curve["high"])) == (100, {1.0}, {3.0})
    assert curve["y"][5] == 2.0
    assert curve["y"][0] == pytest.approx((100 * 2 - 3) / 99, abs=1e-3)


def test_palettes_have_as_many_colours_as_classes() -> None:
    assert [len(set(colours(n))) for n in (1, 10, 11, 60)] == [1, 10, 11, 60]
    assert len(ramp(1)) == 1
    assert len(set(ramp(LAYERS))) == LAYERS
