"""What an evaluation writes into the record: the numbers of each loader, its predictions, maps of hidden layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.given import Bounds
from diagnose.measure.summary import summary
from diagnose.record import Record


def add_numbers(
    record: Record,
    task: str,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None,
    *,
    classes: int,
    class_names: Sequence[str] | None,
    loader: str,
    seed: int,
    loss: NDArray[Any] | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    bounds: Bounds | None = None,
    group: NDArray[Any] | None = None,
) -> None:
    """Write the numbers of one loader into the fact ``evaluation``, and its predictions as arrays: the first's under ``test``."""
    target, prediction = (one_output(values, task) for values in (target, prediction))
    entry = numbers_of(
        task,
        target,
        prediction,
        probability,
        classes=classes,
        class_names=class_names,
        loader=loader,
        seed=seed,
        loss=loss,
        columns=columns,
        bounds=bounds,
        group=group,
    )
    entries = record.facts.get("evaluation", {})
    place = list(entries).index(loader) if loader in entries else len(entries)
    entry["arrays"] = prefix = f"test/{place}" if place else "test"
    record.add("evaluation", {**entries, loader: entry})
    record.save_array(f"{prefix}/target", target)
    record.save_array(f"{prefix}/prediction", prediction)
    if probability is not None:
        record.save_array(f"{prefix}/probability", np.asarray(probability, dtype=np.float32))
    if loss is not None:
        record.save_array(f"{prefix}/loss", np.asarray(loss, dtype=np.float32))
    if group is not None:
        record.save_array(f"{prefix}/group", np.unique(group, return_inverse=True)[1].astype(np.int32))


def add_inputs(
    record: Record,
    loader: str,
    kept: tuple[NDArray[np.int64], NDArray[Any]] | None,
    table: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the inputs of the samples of highest loss, and which samples they are; of tables also what is usual for each column."""
    if kept is not None:
        prefix = record.facts["evaluation"][loader]["arrays"]
        if table and len(table) == kept[1].shape[1]:
            quartiles = {name: np.nanquantile(column, (0.25, 0.5, 0.75)).tolist() for name, column in table.items()}
            features = [{"name": name, "median": q[1], "spread": q[2] - q[0]} for name, q in quartiles.items()]
            entries = record.facts["evaluation"]
            record.add("evaluation", {**entries, loader: {**entries[loader], "features": features}})
        record.save_array(f"{prefix}/input/rows", kept[0])
        record.save_array(f"{prefix}/input", kept[1])


def numbers_of(
    task: str,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None,
    *,
    classes: int,
    class_names: Sequence[str] | None,
    loader: str,
    seed: int,
    loss: NDArray[Any] | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    bounds: Bounds | None = None,
    group: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """The numbers of the samples whose predictions are finite; how many are not is said."""
    target, prediction = (one_output(values, task) for values in (target, prediction))
    if class_names is not None and classes and len(class_names) != classes:
        raise ValueError(f"expected {classes} class names, one per class, got {len(class_names)}: {list(class_names)[:5]!r}")
    usable = finite_rows(prediction)
    if probability is not None:
        usable &= finite_rows(probability)
    if not usable.any():
        raise ValueError(f"none of the {len(target)} predictions on {loader!r} is finite: the module gives NaN or infinity")
    left = int((~usable).sum())

    def chosen(values: NDArray[Any] | None) -> Any:
        return values[usable] if left and values is not None else values

    entry = summary(
        task,
        chosen(target),
        chosen(prediction),
        chosen(probability),
        classes=classes,
        class_names=class_names,
        seed=seed,
        loss=chosen(loss),
        columns={name: chosen(values) for name, values in (columns or {}).items()},
        bounds={level: (chosen(low), chosen(high)) for level, (low, high) in (bounds or {}).items()},
        group=chosen(group),
    )
    if left:
        said = f"{left} of {len(target)} samples are left out: their predictions are NaN or infinite."
        entry["note"] = f"{said} {entry.get('note', '')}".strip()
        entry["non_finite"] = left
    return entry


def one_output(values: NDArray[Any], task: str) -> NDArray[Any]:
    """Values of a single output as shape ``(n,)``, also where the module gives them as ``(n, 1)``."""
    return values[:, 0] if task == "regression" and values.ndim == 2 and values.shape[1] == 1 else values


def finite_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows without NaN and infinity, shape ``(n,)``."""
    if not np.issubdtype(values.dtype, np.floating):
        return np.ones(len(values), dtype=np.bool_)
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(1))


def clusters(hidden: Any, target: NDArray[Any], names: Sequence[str] | None, seed: int) -> dict[str, NDArray[Any]]:
    """Groups of samples that are alike in the last kept layer, as a column to slice by; nothing where it does not hold every sample.

    A group is called by its number and the class that most of its samples have.
    """
    for layer, rows in reversed(hidden.features().items()):
        if len(rows) == len(target) and np.isfinite(rows).all():
            from diagnose.measure.slices import grouped

            place = grouped(rows, seed)
            if place is None:
                return {}
            if target.ndim > 1 or not np.issubdtype(target.dtype, np.integer):
                return {f"cluster in {layer}": place}
            most = [int(np.bincount(target[place == k]).argmax()) for k in np.unique(place)]
            called = [f"{k} (mostly {names[c] if names is not None else c})" for k, c in zip(np.unique(place), most, strict=True)]
            return {f"cluster in {layer}": np.array(called)[np.searchsorted(np.unique(place), place)]}
    return {}


def add_embeddings(record: Record, hidden: Any, seed: int, projection: str = "t-SNE") -> None:
    """Map the kept layers, each starting from the map of the one before, and write the fact ``embedding`` and its arrays."""
    from diagnose.measure.embedding import project

    target = record.arrays["test/target"]
    labelled = np.issubdtype(target.dtype, np.integer) and target.ndim == 1
    facts: dict[str, Any] = {}
    start = None
    for layer, features in hidden.features().items():
        labels = target[: len(features)] if labelled else None
        embedding = project(features, seed=seed, labels=labels, method=projection, start=start)
        facts[layer] = embedding.facts()
        if len(embedding.xy):
            start = embedding
            record.save_array(f"embedding/{layer}", embedding.xy.astype(np.float32))
            record.save_array(f"embedding/{layer}/rows", embedding.rows)
    facts |= {layer: {"method": "none", "n": 0, "note": note} for layer, note in hidden.notes.items()}
    if facts:
        record.add("embedding", facts)
    else:
        record.skip("embedding", "no hidden layer gives one row of numbers per prediction")
