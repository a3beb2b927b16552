"""Hidden layers: a map of each, beside the numbers that say what the map shows."""

from __future__ import annotations

import numpy as np

from diagnose.record import Record
from diagnose.report.panels import points
from diagnose.report.text import number, plural
from diagnose.report.values import Picture, Section, Table

DRAWN = 2000


def layers_section(record: Record) -> Section | None:
    """Maps of hidden layers; ``None`` where none was made."""
    embeddings = record.facts.get("embedding") or {}
    if not embeddings:
        return None
    names = (record.facts.get("task") or {}).get("class_names")
    pictures, rows, left_out = [], [], []
    for index, (layer, fact) in enumerate(embeddings.items()):
        rows.append(
            (
                layer,
                fact.get("dim"),
                fact.get("n"),
                fact.get("knn_accuracy"),
                fact.get("silhouette"),
                fact.get("trustworthiness"),
                fact.get("perplexity"),
                fact.get("note") or "",
            )
        )
        picture = layer_picture(record, layer, index, names)
        if picture is None:
            left_out.append(f"No map of {layer}: {fact.get('note') or 'its points were not recorded'}.")
        else:
            pictures.append(picture)
    table = Table(
        name="layers",
        title="What the layers carry",
        columns=("layer", "dimensions", "samples", "k-NN accuracy", "silhouette", "trustworthiness", "perplexity", "note"),
        formats=("text", "count", "count", "share", "number", "number", "number", "text"),
        rows=tuple(rows),
        note="k-NN accuracy and silhouette are measured in the layer itself; trustworthiness: how far the map keeps neighbours.",
    )
    notes = ["Points that are close are alike; distances between clusters and their sizes are not meaningful.", *left_out]
    return Section(name="layers", title="Hidden layers", notes=tuple(notes), pictures=tuple(pictures), tables=(table,))


def layer_picture(record: Record, layer: str, index: int, names: list[str] | None) -> Picture | None:
    place = record.arrays.get(f"embedding/{layer}")
    target = record.arrays.get("test/target")
    if place is None or target is None or place.ndim != 2 or place.shape[1] != 2 or target.ndim != 1 or not len(place):
        return None
    fact = record.facts["embedding"][layer]
    rows = np.asarray(record.arrays.get(f"embedding/{layer}/rows", np.arange(len(place))), dtype=int)
    if len(rows) != len(place) or rows.max() >= len(target) or not np.issubdtype(target.dtype, np.integer):
        return None
    shown = np.arange(len(place))[np.isfinite(place).all(axis=1)]
    if len(shown) > DRAWN:
        shown = shown[np.linspace(0, len(shown) - 1, DRAWN).astype(int)]
    guess = record.arrays.get("test/prediction")
    if guess is not None and (guess.shape != target.shape or not np.issubdtype(guess.dtype, np.integer)):
        guess = None
    panels, shared, legend = points(place[shown], target[rows[shown]], None if guess is None else guess[rows[shown]], names)
    method = fact.get("method", "t-SNE")
    facts = [
        f"{label} {number(fact[key])}"
        for key, label in (("knn_accuracy", "k-NN accuracy"), ("silhouette", "silhouette"), ("trustworthiness", "trustworthiness"))
        if fact.get(key) is not None
    ]
    count, cap = int(fact.get("n") or len(place)), fact.get("cap")
    settings = [f"{len(shown):,} of {count:,} samples drawn" if len(shown) < count else plural(count, "sample")]
    if cap and count >= cap:
        settings.append(f"a stratified choice of at most {cap:,}")
    settings += [f"{k} {number(fact[k])}" for k in ("perplexity", "seed") if fact.get(k) is not None]
    note = "; ".join((", ".join(facts), ", ".join(settings))) if facts else ", ".join(settings)
    return Picture(
        name=f"layer-{index}",
        title=f"{layer}: {method}",
        alt=f"{method} map of layer {layer}: {note}",
        note=note,
        panels=panels,
        shared=shared,
        legend=legend,
    )
