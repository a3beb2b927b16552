"""Ensembles: several models, or one asked several times, evaluated beside each other on the same samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diagnose.evaluation import Evaluation, check_task
from diagnose.measure.ensemble import ensembled
from diagnose.measure.paired import Predicted
from diagnose.numbers import add_embeddings, add_numbers, one_output
from diagnose.record import Record
from diagnose.rules import build, diagnose

if TYPE_CHECKING:
    from diagnose.namespace import LightningModule


@dataclass(frozen=True, kw_only=True)
class Member:
    """A model of an ensemble.

    Attributes:
        name: What it is called.
        module: It predicts by its own ``test_step`` (else ``validation_step``, else ``training_step``).
        inside: Entered while it predicts: `diagnose.experiments.asking.dropping`, for one.
    """

    name: str
    module: LightningModule
    inside: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)


def mc_dropout(module: LightningModule, passes: int = 20, *, seed: int = 0) -> list[Member]:
    """One network with its dropout on, asked several times.

    Raises:
        ValueError: It has no dropout, or fewer than two passes are asked for.

    References:
        Gal and Ghahramani, Dropout as a Bayesian approximation: representing model uncertainty in deep learning, ICML (2016).
    """
    from diagnose.experiments.asking import dropouts, dropping

    if not dropouts(module):
        raise ValueError(f"{type(module).__name__} has no nn.Dropout with p above 0: each pass would give the same")
    if passes < 2:
        raise ValueError(f"an ensemble needs at least two passes, got {passes!r}")
    return [Member(name=f"pass {k + 1}", module=module, inside=lambda k=k: dropping(module, seed + k)) for k in range(passes)]  # type: ignore[misc]


def heads(module: LightningModule) -> list[Member]:
    """The heads of a `diagnose.models.heads.HeadedLearner`.

    Raises:
        ValueError: It has none.
    """
    from diagnose.experiments.asking import answering

    own = shares_trunk(module)
    if own is None:
        raise ValueError(f"{type(module).__name__} has no heads: its network ends in one layer")
    return [Member(name=f"head {k + 1}", module=module, inside=lambda k=k: answering(own, k)) for k in range(len(own.layers))]  # type: ignore[misc]


def evaluate_ensemble(
    members: Sequence[Member | LightningModule],
    dataloader: Any,
    *,
    record: Record | None = None,
    kind: str = "given",
    failed: Mapping[str, str] | None = None,
    train_seconds: tuple[float, float] | None = None,
    beside: Member | None = None,
    class_names: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    task: str | None = None,
    projection: str = "t-SNE",
    seed: int = 0,
) -> Evaluation:
    """Evaluate an ensemble on one loader: each member, the mean of their probabilities or values, the majority vote, their disagreement.

    The numbers of the evaluation are those of the mean. A member whose predictions are not finite is left out, by name. The record gets
    the facts ``evaluation`` and ``ensemble`` (fields of `diagnose.measure.ensemble.Ensembled`, and ``kind``, ``failed`` and ``cost``),
    and maps of the first member's hidden layers.

    Args:
        members: Models, or `Member` as `mc_dropout` and `heads` make them.
        dataloader: Without shuffling: all members must see the same samples in the same order.
        record: To write into; by default a new one.
        kind: What the ensemble is called in the report.
        failed: Members that could not be trained, and why.
        train_seconds: What training cost: one member, all of them.
        beside: A model to compare with that is no member.
        class_names: A name per class.
        layers: Names or globs of hidden layers to map.
        task: As for `diagnose.evaluate`.
        projection: How layers are mapped.
        seed: Of resampling and of the maps.

    Raises:
        ValueError: Fewer than two members have finite predictions, they saw different samples, or no predictions can be found.
    """
    from diagnose.experiments.predict import predict
    from diagnose.measure.embedding import check_method

    check_method(projection)
    record = Record() if record is None else record
    named = [m if isinstance(m, Member) else Member(name=f"member {k + 1}", module=m) for k, m in enumerate(members)]
    lost, kept, seconds = dict(failed or {}), list[tuple[str, Predicted]](), list[float]()
    first, hidden, truth = None, None, np.zeros(0)
    others: dict[str, Predicted] = {}
    for member in [*named, *([beside] if beside is not None else [])]:
        start = time.perf_counter()
        with member.inside():
            (part,), layer_values = predict(member.module, {"test": dataloader}, layers=layers if first is None else [])
        target, prediction, probability = part.array("target"), part.array("prediction"), part.array("probability")
        if target is None or prediction is None:
            raise ValueError(f"no predictions were found for {member.name!r}: expected a step that calls a loss of torch.nn.functional")
        if not all(np.isfinite(values).all() for values in (prediction, probability) if values is not None):
            lost[member.name] = "its predictions are not finite"
            continue
        own = Predicted(prediction=prediction, probability=probability, loss=part.array("loss"))
        if member is beside:
            others[member.name] = own
            continue
        seconds.append(time.perf_counter() - start)
        if first is None:
            first, hidden, truth = part, layer_values, target
        elif not np.array_equal(target, truth):
            raise ValueError(f"{member.name!r} saw other samples than {kept[0][0]!r}: expected a loader that does not shuffle")
        kept.append((member.name, own))
    if first is None or len(kept) < 2:
        said = "".join(f"; {name}: {reason}" for name, reason in lost.items())
        raise ValueError(f"an ensemble needs at least two members with finite predictions, {len(kept)} of {len(named)} have them{said}")
    check_task(task, first.task)
    kind_of = task or first.task
    names, predicted = [name for name, _ in kept], [own for _, own in kept]
    made = ensembled(kind_of, truth, predicted, names, classes=first.classes, seed=seed, group=first.group, beside=others)
    given = list(map(str, class_names)) if class_names is not None else None
    source = f"{first.source}, {len(kept)} members"
    record.add("task", {"kind": kind_of, "loss": first.loss, "classes": first.classes, "class_names": given, "extracted_by": source})
    own = made.mean
    options: dict[str, Any] = {"classes": first.classes, "class_names": given, "loader": "test", "seed": seed}
    add_numbers(record, kind_of, truth, own.prediction, own.probability, **options, loss=own.loss, group=first.group)
    for index, member_predicted in enumerate(predicted):
        record.save_array(f"ensemble/{index}/prediction", one_output(member_predicted.prediction, kind_of))
    start = time.perf_counter()
    if shares_trunk(named[0].module):  # one pass asks all heads
        predict(named[0].module, {"test": dataloader}, layers=[])
        seconds = [float(np.median(seconds)), time.perf_counter() - start]
    else:
        seconds = [float(np.median(seconds)), float(np.median(seconds)) * len(seconds)]
    cost = costs(named, seconds, train_seconds)
    record.add("ensemble", {"kind": kind, "wanted": len(named) + len(failed or {}), "failed": lost, "cost": cost, **made.to_dict()})
    add_embeddings(record, hidden, seed, projection)
    return Evaluation(record=record, diagnosis=diagnose(record, build(select=["E"])))


def shares_trunk(module: LightningModule) -> Any:
    """The heads of a module, or ``None``."""
    from diagnose.models.heads import Heads

    return next((child for child in module.modules() if isinstance(child, Heads)), None)


def costs(members: Sequence[Member], seconds: list[float], train_seconds: tuple[float, float] | None) -> dict[str, list[float] | None]:
    """What one member costs and what all do: seconds of training, seconds of inference on the loader, parameters that are kept."""
    distinct = {id(m.module): m.module for m in members}.values()
    sizes = [sum(p.numel() for p in module.parameters()) for module in distinct]
    one = float(sizes[0])
    if (several := shares_trunk(members[0].module)) is not None:
        one -= sum(p.numel() for layer in list(several.layers)[1:] for p in layer.parameters())
    trained = list(train_seconds) if train_seconds is not None else None
    return {"train_seconds": trained, "inference_seconds": seconds, "parameters": [one, float(sum(sizes))]}
