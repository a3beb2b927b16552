"""The evaluation: predictions in, every number of the report into the record; without torch where predictions are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.summary import summary
from diagnose.record import Record
from diagnose.rules import build, diagnose
from diagnose.values import Diagnosis

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss", "ece", "roc_auc", "hamming_loss", "mae", "rmse", "r2")


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What an evaluation found; it shows itself in a notebook.

    Attributes:
        record: Everything that was measured: facts ``task``, ``evaluation``, ``embedding`` and the arrays of the first loader.
        diagnosis: What the rules of evaluation (E4xx) say about it.
    """

    record: Record
    diagnosis: Diagnosis

    @property
    def metrics(self) -> Mapping[str, float]:
        """The numbers of the first loader by name."""
        entry = next(iter(self.record.facts["evaluation"].values()))
        return {k: v for k, v in entry.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Counts of the first loader, rows are true classes, shape ``(K, K)``; ``None`` for other tasks and above 2,000 classes."""
        matrix = next(iter(self.record.facts["evaluation"].values())).get("confusion")
        return None if matrix is None else np.asarray(matrix, dtype=np.int64)

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        rows = []
        for loader, entry in self.record.facts["evaluation"].items():
            for name in SHOWN:
                if entry.get(name) is not None:
                    low, high = entry["intervals"].get(name) or (None, None)
                    against = entry["baseline"].get(name)
                    between = f"{low:.4g} to {high:.4g}" if low is not None else ""
                    base = f"{against:.4g} ({entry['baseline']['name']})" if against is not None else ""
                    rows.append((loader, name, f"{entry[name]:.4g}", between, base))
        return rows

    def __repr__(self) -> str:
        entries = self.record.facts["evaluation"]
        lines = ["Evaluation: " + ", ".join(f"{name}, {entry['task']}, {entry['n']} samples" for name, entry in entries.items())]
        for loader, name, value, between, base in self._rows():
            line = f"  {loader + ' ' if len(entries) > 1 else ''}{name:18} {value:>8}"
            lines.append(line + (f"  95 % {between}" if between else "") + (f"  baseline {base}" if base else ""))
        return "\n".join([*lines, repr(self.diagnosis)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{h}</th>" for h in ("loader", "metric", "value", "95 %", "baseline"))
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self._rows())
        return f"<table><tr>{head}</tr>{rows}</table>{self.diagnosis._repr_html_()}"


def evaluate(
    module: LightningModule,
    dataloaders: Any,
    *,
    trainer: Trainer | None = None,
    record: Record | None = None,
    layers: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    extract: Callable[[Any, Any], Any] | None = None,
    loader_names: Sequence[str] | None = None,
) -> Evaluation:
    """Evaluate a module on one or several loaders.

    The module's own ``test_step`` (else ``validation_step``, else ``training_step``) runs in evaluation mode without gradients;
    predictions and targets are the arguments of the loss function that it calls. The module is left as it was.

    Args:
        module: Any LightningModule.
        dataloaders: A loader, a list of loaders or a mapping of names to loaders.
        trainer: Its precision is used.
        record: To write into; by default a new one.
        layers: Names or globs of hidden layers to map; by default the input of the last layer with parameters and one in the middle.
        class_names: A name per class.
        seed: Of resampling and of the maps.
        extract: ``extract(output, batch)`` gives predictions and targets where the loss calls do not: a mapping with ``preds`` and
            ``target``, or a pair.
        loader_names: Names for the loaders; by default ``test``, ``test/1`` ...

    Raises:
        ValueError: No predictions can be found, a layer does not exist, or names do not fit.
    """
    from diagnose.experiments.predict import predict

    record = Record() if record is None else record
    loaders = named_loaders(dataloaders, loader_names)
    precision = getattr(trainer, "precision", None)
    collected, hidden = predict(module, loaders, extract=extract, layers=layers, precision=precision)
    for index, part in enumerate(collected):
        if not part.parts:
            raise ValueError(
                f"no predictions were found for the loader {part.name!r}: expected a step that calls a loss of torch.nn.functional (or an "
                'nn.*Loss), or that returns {"preds": ..., "target": ...}; pass extract=lambda output, batch: (preds, target)'
            )
        target, prediction = part.array("target"), part.array("prediction")
        assert target is not None
        assert prediction is not None
        given_names = class_names if class_names is not None else (record.facts.get("task") or {}).get("class_names")
        fact = {
            "kind": part.task,
            "loss": part.loss,
            "classes": part.classes,
            "class_names": _listed(given_names),
            "extracted_by": part.source,
        }
        if index == 0:
            record.add("task", fact)
        add_numbers(
            record,
            part.task,
            target,
            prediction,
            part.array("probability"),
            classes=part.classes,
            class_names=given_names,
            loader=part.name,
            seed=seed,
            loss=part.array("loss"),
            arrays=index == 0,
        )
    add_embeddings(record, hidden, seed)
    return Evaluation(record=record, diagnosis=diagnose(record, build(select=["E"])))


def evaluate_predictions(
    record: Record,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None = None,
    class_names: Sequence[str] | None = None,
    loader: str = "test",
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions of any framework; torch is not needed.

    Args:
        record: To write into.
        target: Class indices (integers) or values, shape ``(n,)``; integers of shape ``(n, k)`` for several labels per sample.
        prediction: The same shape and kind.
        probability: Shape ``(n, C)``, or ``(n, k)`` for several labels.
        class_names: A name per class.
        loader: Name of the evaluated part.
        seed: Of resampling.

    Raises:
        ValueError: Shapes do not fit, there is no sample, a number is not finite, or there are fewer names than classes.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    if target.shape != prediction.shape or not target.size:
        raise ValueError(f"expected as many predictions as targets, at least one, got {prediction.shape!r} and {target.shape!r}")
    for what, given in (("target", target), ("prediction", prediction)):
        if not (np.issubdtype(given.dtype, np.number) or given.dtype == np.bool_):
            raise ValueError(
                f"expected class indices (integers) or values, got {what} {given.flat[0]!r}: number the classes and pass class_names"
            )
    whole = all(np.issubdtype(a.dtype, np.integer) or a.dtype == np.bool_ for a in (target, prediction))
    if probability is not None and not whole:
        raise ValueError(
            f"expected class indices (integers) beside probabilities, got {target.dtype} targets and {prediction.dtype} predictions"
        )
    for what, array in (("target", target), ("prediction", prediction), ("probability", probability)):
        if array is not None and np.issubdtype(np.asarray(array).dtype, np.floating) and not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))[0])
            raise ValueError(f"expected finite numbers, got {what} {np.asarray(array)[row]!r} in row {row} (counted from 0)")
    task, classes = "regression", 0
    if whole and target.ndim == 2:
        task, classes = "multilabel", target.shape[1]
    elif whole:
        target, prediction = target.astype(np.int64), prediction.astype(np.int64)
        columns = 0 if probability is None else np.asarray(probability).shape[-1]
        classes = max(2, columns, len(class_names or ()), int(max(target.max(), prediction.max())) + 1)
        task = "binary" if classes == 2 else "multiclass"
    names = _listed(class_names)
    record.add("task", {"kind": task, "loss": "", "classes": classes, "class_names": names, "extracted_by": "the given predictions"})
    loss = None
    if probability is not None and task in ("binary", "multiclass"):
        from diagnose.measure.calibration import log_losses

        probability = np.asarray(probability)
        if probability.shape != (len(target), classes):
            raise ValueError(f"expected probabilities of shape {(len(target), classes)!r}, a column per class, got {probability.shape!r}")
        off = np.flatnonzero(~((np.abs(probability.sum(1) - 1) < 1e-2) & (probability.min(1) >= 0)))
        if len(off):
            raise ValueError(
                f"expected probabilities from 0 to 1 that sum to 1, got {probability[off[0]]!r} in row {off[0]} (counted from 0), "
                f"{len(off)} such rows: apply softmax to logits"
            )
        loss = log_losses(probability, target)
    elif task == "regression":
        loss = ((target - prediction).astype(np.float64) ** 2).reshape(len(target), -1).mean(1)
    add_numbers(record, task, target, prediction, probability, classes=classes, class_names=names, loader=loader, seed=seed, loss=loss)
    return Evaluation(record=record, diagnosis=diagnose(record, build(select=["E"])))


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
    arrays: bool = True,
) -> None:
    """Write the numbers of one loader into the fact ``evaluation``, and with ``arrays`` the predictions themselves."""
    if class_names is not None and classes and len(class_names) != classes:
        raise ValueError(f"expected {classes} class names, one per class, got {len(class_names)}: {list(class_names)[:5]!r}")
    usable = np.isfinite(np.asarray(prediction, dtype=np.float64)).reshape(len(target), -1).all(1)
    if probability is not None:
        usable &= np.isfinite(probability).reshape(len(target), -1).all(1)
    if not usable.any():
        raise ValueError(f"none of the {len(target)} predictions on {loader!r} is finite: the module gives NaN or infinity")
    chosen = (target, prediction, probability)
    if not usable.all():
        chosen = (target[usable], prediction[usable], None if probability is None else probability[usable])
    entry = summary(task, *chosen, classes=classes, class_names=class_names, seed=seed)
    if not usable.all():
        entry["note"] = f"{int((~usable).sum())} of {len(target)} samples are left out: their predictions are NaN or infinite."
        entry["non_finite"] = int((~usable).sum())
    record.add("evaluation", {**record.facts.get("evaluation", {}), loader: entry})
    if arrays:
        record.save_array("test/target", target)
        record.save_array("test/prediction", prediction)
        if probability is not None:
            record.save_array("test/probability", np.asarray(probability, dtype=np.float32))
        if loss is not None:
            record.save_array("test/loss", np.asarray(loss, dtype=np.float32))


def add_embeddings(record: Record, hidden: Any, seed: int) -> None:
    """Map the kept layers and write the fact ``embedding`` and its arrays."""
    from diagnose.measure.embedding import project

    target = record.arrays["test/target"]
    labelled = np.issubdtype(target.dtype, np.integer) and target.ndim == 1
    facts: dict[str, Any] = {}
    for layer, parts in hidden.kept.items():
        features = np.concatenate(parts)
        embedding = project(features, seed=seed, labels=target[: len(features)] if labelled else None)
        facts[layer] = embedding.facts()
        if len(embedding.xy):
            record.save_array(f"embedding/{layer}", embedding.xy.astype(np.float32))
            record.save_array(f"embedding/{layer}/rows", embedding.rows)
    facts |= {layer: {"method": "none", "n": 0, "note": note} for layer, note in hidden.notes.items()}
    if facts:
        record.add("embedding", facts)
    else:
        record.skip("embedding", "no hidden layer gives one row of numbers per prediction")


def named_loaders(dataloaders: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """Loaders by name."""
    if isinstance(dataloaders, Mapping):
        return {str(name): loader for name, loader in dataloaders.items()}
    loaders = list(dataloaders) if isinstance(dataloaders, (list, tuple)) else [dataloaders]
    given = list(names) if names is not None else ["test", *(f"test/{i}" for i in range(1, len(loaders)))]
    if len(given) != len(loaders) or len(set(given)) != len(given) or not loaders:
        raise ValueError(f"expected a name for each of {len(loaders)} loaders, all different, got {given!r}")
    return dict(zip(given, loaders, strict=True))


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else [str(name) for name in names]
