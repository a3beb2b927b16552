"""Hidden layers: a map of each in one row from early to late, beside the numbers that say what the maps show."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.record import Record
from diagnose.report.panels import points, ramp
from diagnose.report.text import number, plural
from diagnose.report.values import Picture, Section, Table

DRAWN = 2000  # points of a map
BUDGET = 4500  # points of all maps
FEWEST = 300
PARTS = 7  # ranges of values that have a colour of their own
MEASURED = (("knn_accuracy", "k-NN accuracy"), ("silhouette", "silhouette"), ("trustworthiness", "trustworthiness"))


def layers_section(record: Record) -> Section | None:
    """Maps of hidden layers; ``None`` where none was made."""
    embeddings = record.facts.get("embedding") or {}
    if not embeddings:
        return None
    names = (record.facts.get("task") or {}).get("class_names")
    usable = [layer for layer in embeddings if has_map(record, layer)]
    absent = {layer: fact.get("note") or "its points were not recorded" for layer, fact in embeddings.items() if layer not in usable}
    left_out = [f"No map of {layer}: {why}." for layer, why in absent.items()]
    pictures = (row_picture(record, usable, names),) if usable else ()
    noted = any(fact.get("note") for fact in embeddings.values())
    columns = ("method", "dim", "n", "knn_accuracy", "silhouette", "trustworthiness", "perplexity")
    table = Table(
        name="layers",
        title="What the layers carry",
        columns=(
            "layer",
            "map",
            "dimensions",
            "samples",
            "k-NN accuracy",
            "silhouette",
            "trustworthiness",
            "perplexity",
            *(("note",) if noted else ()),
        ),
        formats=("text", "text", "count", "count", "share", "number", "number", "number", *(("text",) if noted else ())),
        rows=tuple(
            (layer, *(fact.get(k) for k in columns), *((fact.get("note") or "",) if noted else ())) for layer, fact in embeddings.items()
        ),
        note="k-NN accuracy (share of samples whose class is that of most of their 10 nearest neighbours) and silhouette are measured "
        "in the layer itself; trustworthiness says how far the map keeps neighbours.",
    )
    notes = ["Points that are close are alike; distances between clusters and their sizes are not meaningful.", *left_out]
    return Section(name="layers", title="Hidden layers", notes=tuple(notes), pictures=pictures, tables=(table,))


def has_map(record: Record, layer: str) -> bool:
    """Whether the places of a layer and the classes of its samples are known."""
    place, target = record.arrays.get(f"embedding/{layer}"), record.arrays.get("test/target")
    if place is None or target is None or place.ndim != 2 or place.shape[1] != 2 or target.ndim != 1 or not len(place):
        return False
    rows = rows_of(record, layer)
    return len(rows) == len(place) and int(rows.max()) < len(target)


def rows_of(record: Record, layer: str) -> NDArray[np.int64]:
    """Which samples a map shows."""
    place = record.arrays[f"embedding/{layer}"]
    return np.asarray(record.arrays.get(f"embedding/{layer}/rows", np.arange(len(place))), dtype=np.int64)


def ranges(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Values as numbers of ranges that hold equally many of them, and what the ranges are called.

    >>> ranges(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]))[1][0]
    '1 to 1.86'
    """
    edges = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, PARTS + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(0, len(edges) - 2))
    ends = [number(float(edge)) for edge in edges]
    return place.astype(np.int64), [f"{low} to {high}" for low, high in pairwise(ends)] or ends


def row_picture(record: Record, layers: list[str], names: list[str] | None) -> Picture:
    """The maps of all layers, coloured by true class with the errors ringed, the last one by predicted class too; or by the true value."""
    target = np.asarray(record.arrays["test/target"])
    guess = record.arrays.get("test/prediction")
    if guess is not None and (guess.shape != target.shape or not np.issubdtype(guess.dtype, np.integer)):
        guess = None
    classes = bool(np.issubdtype(target.dtype, np.integer))
    if not classes:
        (target, names), guess = ranges(target), None
    most = min(DRAWN, max(FEWEST, BUDGET // (len(layers) + 1)))
    panels: list[dict[str, Any]] = []
    legend: tuple[tuple[str, str], ...] = ()
    colours: tuple[str, ...] = ()
    said, drawn, before = [], [], np.zeros(0, dtype=np.int64)
    for layer in layers:
        place, rows = record.arrays[f"embedding/{layer}"], rows_of(record, layer)
        shown = np.flatnonzero(np.isfinite(place).all(axis=1))
        if len(shown) > most:
            shown = shown[np.linspace(0, len(shown) - 1, most).astype(int)]
        chosen = rows[shown]
        own, shared, legend = points(place[shown], target[chosen], None if guess is None else guess[chosen], names)
        colours = shared.pop("colours") if classes else ramp(len(names or ()))
        legend = legend if classes else tuple(zip(names or (), colours, strict=True))
        fact = record.facts["embedding"][layer]
        known: dict[str, Any] = {}
        if not np.array_equal(chosen, before):  # maps of the same samples name them once
            known = {"names": names, "rows": chosen.tolist(), "true": target[chosen].tolist()}
            known |= {} if guess is None else {"predicted": guess[chosen].tolist()}
        before = chosen
        method = fact.get("method", "t-SNE")
        title = f"{layer}, {method}"
        if fact.get("knn_accuracy") is not None:
            title += f", k-NN {number(fact['knn_accuracy'])}"
        panels.append({**shared, **own[0], "title": title, "samples": known})
        if guess is not None:
            panels[-1]["wrong"] = own[1]["wrong"]
            if layer == layers[-1]:
                panels.append({**shared, **own[1]})
        said.append(f"{layer}: {facts(fact)}")
        drawn.append((len(shown), int(fact.get("n") or len(place)), fact))
    count, total, fact = drawn[0]
    settings = [f"{count:,} of {total:,} samples drawn" if count < total else plural(total, "sample")]
    if fact.get("cap") and total >= fact["cap"]:
        settings.append(f"a stratified choice of at most {fact['cap']:,}")
    settings += [f"{k} {number(fact[k])}" for k in ("perplexity", "seed") if fact.get(k) is not None]
    ringed = " True classes; errors are ringed." if guess is not None else "" if classes else " Coloured by the true value."
    return Picture(
        name="layers-maps",
        title="From early to late" if len(layers) > 1 else layers[0],
        alt=f"Maps of hidden layers. {'. '.join(said)}",
        note=f"{', '.join(settings)}.{ringed}",
        panels=tuple(panels),
        shared={"colours": colours, "small": len(panels) > 2},
        legend=legend,
    )


def facts(fact: Mapping[str, Any]) -> str:
    """The measured numbers of a layer in words."""
    known = [f"{label} {number(fact[key])}" for key, label in MEASURED if fact.get(key) is not None]
    return ", ".join(known) or "not measured"
