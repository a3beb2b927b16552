"""A matplotlib figure as a small SVG, for a page that decides on the colours of its text itself."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from diagnose.report.figures import style
from diagnose.report.panels import INK
from diagnose.report.text import clean

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


def file_svg(figure: Figure, *, name: str, alt: str) -> str:
    """The figure as an SVG file on white."""
    root = compact(figure, name)
    root.attrib |= {"xmlns": NAMESPACE, "role": "img", "aria-label": clean(alt), "font-family": "'DejaVu Sans', Verdana, sans-serif"}
    root.insert(0, ElementTree.Element("rect", {"width": "100%", "height": "100%", "fill": "#ffffff"}))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text_of(root)


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


def short(value: str) -> str:
    text = f"{float(value):.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def dot(stroke: re.Match[str]) -> str:
    short_enough = abs(float(stroke[1]) - float(stroke[3])) < 0.05
    return f"M{short(stroke[1])} {short(stroke[2])}h0" if short_enough else stroke[0]


def short_path(path: str) -> str:
    text = DOT.sub(dot, " ".join(path.split()))
    text = re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: short(m[0]), text)
    return re.sub(r" ?([A-Za-z]) ?", r"\1", text)
