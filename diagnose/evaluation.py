"""The evaluation: predictions in, every number of the report into the record; without torch where predictions are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure.given import TASKS, Bounds, given
from diagnose.numbers import add_embeddings, add_inputs, add_numbers, clusters, numbers_of
from diagnose.record import Record
from diagnose.rules import build, diagnose
from diagnose.values import Diagnosis

if TYPE_CHECKING:
    from diagnose.namespace import LightningModule, Trainer

SHOWN = (
    "accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss", "perplexity", "ece", "roc_auc", "average_precision", "hamming_loss",
    "mae", "rmse", "r2",
)  # fmt: skip


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
                    whose = (entry["baseline"].get("names") or {}).get(name) or entry["baseline"]["name"]
                    base = f"{against:.4g} ({whose})" if against is not None else ""
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
    task: str | None = None,
    samples: int = 32,
    projection: str = "t-SNE",
    feature_names: Sequence[str] | None = None,
    original: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
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
        task: ``binary``, ``multiclass``, ``multilabel``, ``regression`` or ``next-token``; by default found from the loss and the targets.
        samples: Keep the inputs of so many samples, those of highest loss, for the report to show; 0 keeps none.
        projection: How layers are mapped: ``t-SNE``, ``PCA`` or ``UMAP``, which needs umap-learn.
        feature_names: A name per column, of inputs that are tables: weak slices are looked for in each, and samples show them.
        original: Gives such inputs, shape ``(n, d)``, in their own unit; by default they are shown as the module gets them.

    Raises:
        ValueError: The task is another, no predictions can be found, a layer does not exist, or names do not fit.
    """
    from diagnose.experiments.predict import predict
    from diagnose.measure.embedding import check_method

    check_method(projection)
    record = Record() if record is None else record
    loaders = named_loaders(dataloaders, loader_names)
    precision = getattr(trainer, "precision", None)
    collected, hidden = predict(
        module, loaders, extract=extract, layers=layers, precision=precision, samples=samples, features=len(feature_names or ())
    )
    for index, part in enumerate(collected):
        if not part.parts:
            raise ValueError(
                f"no predictions were found for the loader {part.name!r}: expected a step that calls a loss of torch.nn.functional (or an "
                'nn.*Loss), or that returns {"preds": ..., "target": ...}; pass extract=lambda output, batch: (preds, target)'
            )
        target, prediction = part.array("target"), part.array("prediction")
        assert target is not None
        assert prediction is not None
        check_task(task, part.task)
        kind = task or part.task
        given_names = class_names if class_names is not None else (record.facts.get("task") or {}).get("class_names")
        fact = {
            "kind": kind,
            "loss": part.loss,
            "classes": part.classes,
            "class_names": _listed(given_names),
            "extracted_by": part.source,
        }
        if index == 0:
            record.add("task", fact)
        rows = part.array("features")
        table = {} if rows is None or len(rows) != len(target) else columns_of(in_unit(rows, original), feature_names or ())
        add_numbers(
            record,
            kind,
            target,
            prediction,
            part.array("probability"),
            classes=part.classes,
            class_names=given_names,
            loader=part.name,
            seed=seed,
            loss=part.array("loss"),
            columns={**table, **(clusters(hidden, target, given_names, seed) if index == 0 else {})},
            group=part.group,
        )
        kept = part.worst.arrays()
        add_inputs(record, part.name, kept if kept is None or not table else (kept[0], in_unit(kept[1], original)), table)
    add_embeddings(record, hidden, seed, projection)
    return Evaluation(record=record, diagnosis=diagnose(record, build(select=["E"])))


def evaluate_training(
    module: LightningModule, loader: Any, *, record: Record, class_names: Sequence[str] | None = None, seed: int = 0, rows: int = 10_000
) -> None:
    """Measure training data as test data are measured: in evaluation mode, by the same step. Writes the fact ``evaluation.train``.

    The difference to the test data is then that of the data alone, not that of dropout, batch statistics or a loss averaged over an
    epoch. Where the loader has more than ``rows`` samples, its first batches are taken: of a loader that shuffles, a random choice.
    """
    from diagnose.experiments.predict import predict

    batches = max(1, -(-rows // (getattr(loader, "batch_size", None) or 32)))
    (part,), _ = predict(module, {"train": loader}, layers=[], batches=batches)
    target, prediction = part.array("target"), part.array("prediction")
    if target is None or prediction is None:
        raise ValueError("no predictions were found on the training data")
    entry = numbers_of(
        part.task,
        target,
        prediction,
        part.array("probability"),
        classes=part.classes,
        class_names=class_names,
        loader="train",
        seed=seed,
        loss=part.array("loss"),
        group=part.group,
    )
    by_row = ("label_errors", "curves", "thresholds", "fingerprint", "slices")  # their rows have no place in the loader
    record.add("evaluation.train", {k: v for k, v in entry.items() if k not in by_row})


def check_task(wanted: str | None, found: str) -> None:
    """Whether a task can be set for what the loss gives."""
    if wanted is not None and wanted not in TASKS:
        raise ValueError(f"expected a task among {', '.join(TASKS)}, got {wanted!r}")
    kinds = {"binary": "classes", "multiclass": "classes", "next-token": "classes"}
    if wanted is not None and kinds.get(wanted, wanted) != kinds.get(found, found):
        raise ValueError(f"the task was set to {wanted}, but the loss gives predictions of {found}: leave it out, or pass extract=")


def evaluate_predictions(
    record: Record,
    target: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any] | None = None,
    class_names: Sequence[str] | None = None,
    loader: str = "test",
    seed: int = 0,
    *,
    task: str | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    bounds: Bounds | None = None,
    ids: NDArray[Any] | None = None,
    group: NDArray[Any] | None = None,
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
        task: ``binary``, ``multiclass``, ``multilabel``, ``regression`` or ``next-token``; by default found from kind and shape.
        columns: What is known of the samples beside, each of shape ``(n,)``, to find parts on which the model is weak.
        bounds: Predicted intervals of values: lower and upper ends by the share of targets that they are meant to hold (``"0.9"``).
        ids: What samples are called, shape ``(n,)``, so that two evaluations can be compared sample by sample.
        group: Of classes, which sequence, image or patient each sample belongs to, shape ``(n,)``: intervals are then over these.

    Raises:
        ValueError: Shapes do not fit, there is no sample, a number is not finite, or there are fewer names than classes.
    """
    known = given(target, prediction, probability, class_names=class_names, task=task)
    names = _listed(class_names)
    fact = {"kind": known.task, "loss": "", "classes": known.classes, "class_names": names, "extracted_by": ""}
    record.add("task", fact)
    add_numbers(
        record,
        known.task,
        known.target,
        known.prediction,
        known.probability,
        classes=known.classes,
        class_names=names,
        loader=loader,
        seed=seed,
        loss=known.loss,
        columns=columns,
        bounds=bounds,
        group=group,
    )
    if ids is not None:
        record.save_array(f"{record.facts['evaluation'][loader]['arrays']}/id", np.asarray(ids))
    return Evaluation(record=record, diagnosis=diagnose(record, build(select=["E"])))


def in_unit(inputs: NDArray[Any], original: Callable[[NDArray[Any]], NDArray[Any]] | None) -> NDArray[np.float32]:
    """Tables of inputs in their own unit."""
    return np.asarray(inputs if original is None else original(inputs), dtype=np.float32)


def columns_of(rows: NDArray[np.float32], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns of a table by name; of equal names the last."""
    return {str(name): rows[:, place] for place, name in enumerate(names)}


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
