"""A matplotlib figure as a small SVG, for a page that decides on the colours of its text itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from diagnose.report.figures import style
from diagnose.report.panels import INK
from diagnose.report.text import clean
from diagnose.report.values import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMESPACE = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
KEPT = ("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap", "opacity",
        "font-size", "font-weight", "text-anchor", "image-rendering")  # fmt: skip
DOT = re.compile(r"M (\S+) (\S+) L (\S+) \2(?= M|\s*$)")  # a stroke from left to right; a dot where it is short


def inline_svg(figure: Figure, *, name: str, alt: str) -> str:
    """The figure as an ``<svg>`` element: no style attributes (a strict policy forbids them), ink as ``currentColor``, one decimal."""
    root = compact(figure, name)
    for element in root.iter():
        for attribute in ("fill", "stroke"):
            if element.get(attribute) == INK:
                element.set(attribute, "currentColor")
    root.attrib |= {"role": "img", "aria-label": clean(alt), "class": "plot"}
    return text_of(root)


def sheet(picture: Picture, panels: Sequence[str]) -> str:
    """A picture as one SVG file on white: its panels, up to three side by side, the title above, the legend below.

    Args:
        picture: What is drawn.
        panels: Its panels as `inline_svg` gives them.
    """
    roots = [ElementTree.fromstring(panel) for panel in panels]
    wide, high = (max((float(root.get(side, 0)) for root in roots), default=100.0) for side in ("width", "height"))
    columns = min(3 if len(roots) != 4 else 2, max(1, len(roots)))
    entries = [(clean(label)[:28], colour) for label, colour in picture.legend] if len(picture.legend) > 1 else []
    each = 28 + 6 * max((len(label) for label, _ in entries), default=1)
    across = max(1, int(wide * columns / each))
    head = 30 if picture.title else 0
    foot = 16 * math.ceil(len(entries) / across) + (10 if entries else 0)
    width, height = wide * columns, high * math.ceil(len(roots) / columns) + head + foot
    size = {"width": short(width), "height": short(height), "viewBox": f"0 0 {short(width)} {short(height)}"}
    about = {"role": "img", "aria-label": clean(picture.alt), "font-family": "'DejaVu Sans', Verdana, sans-serif", "color": INK}
    root = ElementTree.Element("svg", {"xmlns": NAMESPACE, **size, **about})
    root.append(ElementTree.Element("rect", {"width": "100%", "height": "100%", "fill": "#ffffff"}))
    for i, panel in enumerate(roots):
        panel.attrib |= {"x": short(wide * (i % columns)), "y": short(head + high * (i // columns))}
        root.append(panel)
    if picture.title:
        write(root, 9, 20, clean(picture.title), size=11.5, weight="bold")
    for i, (label, colour) in enumerate(entries):
        x, y = 9 + each * (i % across), height - foot + 12 + 16 * (i // across)
        root.append(ElementTree.Element("rect", {"x": short(x), "y": short(y - 7), "width": "8", "height": "8", "fill": colour}))
        write(root, x + 13, y, label, size=8.5)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text_of(root)


def write(root: ElementTree.Element, x: float, y: float, text: str, *, size: float, weight: str = "normal") -> None:
    about = {"x": short(x), "y": short(y), "font-size": str(size), "font-weight": weight, "fill": "currentColor"}
    ElementTree.SubElement(root, "text", about).text = text


def text_of(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode").replace("xlink:href", "href")


def compact(figure: Figure, name: str) -> ElementTree.Element:
    raw = StringIO()
    with style(name):
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(raw.getvalue())
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', raw.getvalue()))
    size = root.get("viewBox", "")
    prune(root, used)
    root.attrib.clear()
    width, height = size.split()[2:]
    root.attrib |= {"viewBox": size, "width": width, "height": height, "stroke-linejoin": "round"}
    return root


def prune(element: ElementTree.Element, used: set[str]) -> None:
    """Drop what does not show; turn style into attributes and coordinates into short numbers."""
    element.tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    element.tail = None
    if element.tag != "text":
        element.text = None
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if key.strip() in KEPT:
            element.set(key.strip(), value.strip().removesuffix("px"))
    if "id" in element.attrib and element.get("id") not in used:
        del element.attrib["id"]
    if HREF in element.attrib:
        element.set("href", element.attrib.pop(HREF))
    for key in ("x", "y", "width", "height"):
        if key in element.attrib and re.fullmatch(r"-?[\d.]+", element.attrib[key]):
            element.set(key, short(element.attrib[key]))
    if "d" in element.attrib:
        element.set("d", short_path(element.attrib["d"]))
    transform = element.get("transform", "")
    if transform.startswith("rotate(-0 "):
        del element.attrib["transform"]
    for child in list(element):
        if child.tag in (f"{{{NAMESPACE}}}metadata", f"{{{NAMESPACE}}}style") or invisible(child):
            element.remove(child)
            continue
        prune(child, used)
        if child.tag in ("g", "defs") and not len(child):
            element.remove(child)
        elif child.tag == "g" and not child.attrib:
            where = list(element).index(child)
            element.remove(child)
            for offset, grandchild in enumerate(child):
                element.insert(where + offset, grandchild)


def invisible(element: ElementTree.Element) -> bool:
    return element.tag == f"{{{NAMESPACE}}}path" and element.get("style") == "fill: none"


def short(value: str | float) -> str:
    text = f"{float(value):.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def dot(stroke: re.Match[str]) -> str:
    short_enough = abs(float(stroke[1]) - float(stroke[3])) < 0.05
    return f"M{short(stroke[1])} {short(stroke[2])}h0" if short_enough else stroke[0]


def short_path(path: str) -> str:
    text = DOT.sub(dot, " ".join(path.split()))
    text = re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: short(m[0]), text)
    return re.sub(r" ?([A-Za-z]) ?", r"\1", text)
