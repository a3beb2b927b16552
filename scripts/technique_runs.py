"""The runs behind the pages of docs/techniques/, as numbers: what a command would do with a seed, without its check and its report."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Curve = tuple[list[float], list[float]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run left.

    Attributes:
        numbers: By the name of a column.
        codes: Of the findings of the doctor that are no hints.
        curves: Places and values by the name of a series.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    curves: dict[str, Curve] = field(default_factory=dict)


def made(words: Sequence[str], seed: int) -> tuple[dict[str, Any], Any, Any]:
    """Settings, data and module of a command's words."""
    from diagnose.cli import averaging, setup
    from diagnose.cli.arguments import Arguments
    from diagnose.cli.trial import settings_of

    settings = settings_of(Arguments(command="train", words=list(words)), {}, seed)
    setup.prepare(settings)
    data = setup.data(settings)
    averaging.check(settings, data)
    return settings, data, setup.module(settings, data)


def train(words: Sequence[str], seed: int, series: str = "") -> Run:
    """The training of ``python -m diagnose train WORDS seed=SEED``, watched by the doctor, and its test with the best weights."""
    import torch

    from diagnose.callbacks import Doctor
    from diagnose.cli import averaging, setup
    from diagnose.cli.checkpoint import load
    from diagnose.evaluation import evaluate
    from diagnose.experiments.batch_norm import measure_batch_norm
    from diagnose.record import Record

    settings, data, module = made(words, seed)
    record = Record()
    doctor = Doctor(record=record)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trainer = setup.trainer(settings, folder, [*setup.callbacks(settings, folder, module), doctor], module)
        trainer.fit(module, datamodule=data)
        best = averaging.averaged(trainer, folder) or str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
        if best:
            load(module, Path(best), trust=True)
    numbers = of_training(record) | {"parameters": float(sum(p.numel() for p in module.parameters()))}
    if all(bool(torch.isfinite(p).all()) for p in module.parameters()):
        numbers |= of_test(evaluate(module, data.test_dataloader(), layers=[], samples=0).record.facts["evaluation"]["test"])
        measure_batch_norm(record, module, data.train_dataloader(), datamodule=data)
    if norms := [entry for entry in record.facts.get("batch_norm") or () if entry["found"] is not None]:
        worst = max(norms, key=lambda entry: entry["found"] - entry["expected"])
        numbers |= {"difference": worst["found"], "explained": worst["expected"]}
    codes = tuple(finding.code for finding in doctor.diagnosis.at_or_above("warning"))
    return Run(numbers=numbers, codes=codes, curves={series: curve(record, series)} if series else {})


def of_training(record: Any) -> dict[str, float]:
    """What a record says of the training itself."""
    run, names = record.facts["run"], set(record.names())
    numbers = {"epochs": float(run["epochs_done"]), "steps": float(run["steps_done"])}
    if "val/loss" in names:
        values = record.series("val/loss").value.ravel()
        numbers |= {"best val loss": min(filter(math.isfinite, values.tolist()), default=math.nan), "last val loss": float(values[-1])}
    if "metric/train/loss" in names:
        numbers["last train loss"] = float(record.series("metric/train/loss").value[-1])
    if "clip/ratio" in names:
        ratio = record.series("clip/ratio").value
        numbers["steps clipped"] = float((ratio[ratio == ratio] < 0.999).mean())
    if "activation/std" in names:
        first = record.series("activation/std").value[0]
        numbers |= {"last to first scale": float(first[-1] / first[0])} if first[0] else {}
    return numbers


def of_test(found: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation says, by the names of the columns."""
    names = {"accuracy": "test accuracy", "log_loss": "test log loss", "ece": "calibration error", "r2": "test R²", "mae": "test MAE"}
    numbers = {column: float(found[key]) for key, column in names.items() if found.get(key) is not None}
    if found.get("per_class"):
        rare = min(found["per_class"], key=lambda row: row["support"])
        numbers |= {what: float(rare[what] or 0.0) for what in ("recall", "precision")}
    return numbers


def curve(record: Any, name: str) -> Curve:
    """A series over the optimizer steps; of ``activation/std`` the first measurement, over the layers."""
    found = record.series(name)
    if name == "activation/std":
        first = found.value[0].tolist()
        return [float(i + 1) for i in range(len(first))], first
    values = found.value if found.value.ndim == 1 else found.value[:, 0]
    return found.step.astype(float).tolist(), values.tolist()


def range_test(words: Sequence[str], seed: int, series: str = "") -> Run:
    """``python -m diagnose lr_range WORDS seed=SEED``."""
    from diagnose.experiments.rate_range import lr_range

    settings, data, module = made(words, seed)
    found = lr_range(module, datamodule=data, **{k: v for k, v in settings["lr_range"].items() if k != "use"})
    numbers = {"suggested rate": found.suggestion, "rises above": found.edge}
    known = [(float(rate), float(loss)) for rate, loss in zip(found.rates, found.median, strict=True) if math.isfinite(loss)]
    curves = {series: ([rate for rate, _ in known], [loss for _, loss in known])} if series else {}
    return Run(numbers={k: float(v) for k, v in numbers.items() if v is not None}, curves=curves)


def noise_of(words: Sequence[str], seed: int, series: str = "") -> Run:
    """``python -m diagnose batch_size WORDS seed=SEED``, of which the noise scale is the same on every machine."""
    from diagnose.experiments.batch_size import batch_size

    settings, data, module = made(words, seed)
    found = batch_size(module, datamodule=data, seconds=settings["batch_size"]["seconds"])
    value = found.noise.value
    return Run(numbers={} if value is None else {"noise scale": float(value)})


COMMANDS: dict[str, Callable[[Sequence[str], int, str], Run]] = {"train": train, "lr_range": range_test, "batch_size": noise_of}
