"""The group ``ensemble`` of ``train`` and ``evaluate``: its members trained or loaded, then evaluated beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnose.callbacks import Doctor, SnapshotEnsemble
from diagnose.cli import runs, setup
from diagnose.cli.arguments import UsageError
from diagnose.cli.averaging import averaged
from diagnose.cli.checkpoint import load
from diagnose.cli.job import Job
from diagnose.data.parts import Parts
from diagnose.ensemble import Member, evaluate_ensemble, heads, mc_dropout
from diagnose.namespace import LightningDataModule, LightningModule, Trainer
from diagnose.record import Record
from diagnose.values import Severity

TRAINED = ("seeds", "bootstrap")  # each member in a training of its own
KINDS = (*TRAINED, "snapshot", "heads", "mc_dropout")


def check(config: dict[str, Any], data: LightningDataModule) -> None:
    """Refuse an ensemble that cannot be made, before anything is trained.

    Raises:
        UsageError: With the reason.
    """
    if not (chosen := config.get("ensemble")):
        return
    kind, members, trainer = chosen.get("kind"), chosen.get("members"), config["trainer"]
    if kind == "checkpoints":
        raise UsageError("ensemble=checkpoints is for evaluate ckpt_path=[A,B,C]; to train one: ensemble=seeds")
    if kind not in KINDS:
        raise UsageError(f"ensemble.kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not isinstance(members, int) or members < 2:
        raise UsageError(f"ensemble.members must be a whole number, at least 2, got {members!r}")
    if kind == "bootstrap" and not isinstance(data, Parts):
        raise UsageError(f"ensemble=bootstrap draws from the data of diagnose, not from a {type(data).__name__}; choose ensemble=seeds")
    if kind in TRAINED and trainer.get("devices", 1) != 1:
        raise UsageError(f"ensemble={kind} trains on one device, got trainer.devices={trainer['devices']}")
    if kind in TRAINED and config.get("ckpt_path"):
        raise UsageError(f"ensemble={kind} cannot be resumed from one checkpoint; leave ckpt_path out")
    if kind == "heads" and not setup.builtin(config):
        raise UsageError("ensemble=heads changes the networks of diagnose, not a LightningModule of your own")
    if kind == "snapshot":
        _check_snapshots(config, members)


def check_module(config: dict[str, Any], module: LightningModule) -> None:
    """Refuse a module that would answer alike each time.

    Raises:
        UsageError: With the reason.
    """
    chosen = config.get("ensemble") or {}
    try:
        if chosen.get("kind") == "mc_dropout":
            mc_dropout(module, chosen["members"])
    except ValueError as error:
        raise UsageError(f"ensemble=mc_dropout: {error}\nset model.dropout, or choose ensemble=seeds") from error


def _check_snapshots(config: dict[str, Any], members: int) -> None:
    callbacks = {name: str(node.get("_target_", "")) for name, node in (config.get("callbacks") or {}).items() if node}
    snapshots = [name for name, target in callbacks.items() if target.endswith(".SnapshotEnsemble")]
    stopping = [name for name, target in callbacks.items() if target.endswith(".EarlyStopping")]
    averaging = [name for name, target in callbacks.items() if target.endswith("WeightAveraging")]
    if not snapshots:
        raise UsageError("ensemble=snapshot needs the callback diagnose.callbacks.SnapshotEnsemble, and callbacks.snapshots is not there")
    if stopping:
        raise UsageError(f"ensemble=snapshot trains every cycle to its end, and callbacks.{stopping[0]} may stop before; set it to null")
    if averaging:
        raise UsageError(f"ensemble=snapshot and callbacks.{averaging[0]}: an average over cycles is no snapshot; leave one out")
    if (schedule := config.get("scheduler") or {}).get("name") != "cyclic" and setup.builtin(config):
        raise UsageError(f"ensemble=snapshot needs scheduler=cyclic, got {schedule.get('name')!r}: members of one cycle are alike")
    if schedule.get("cycles", members) != members:
        raise UsageError(f"ensemble.members={members} snapshots need as many cycles, got scheduler.cycles={schedule['cycles']}")


def data_of(config: dict[str, Any], data: LightningDataModule, index: int) -> LightningDataModule:
    """The data that a member is trained on: the same parts in another order, or a bootstrap sample of the training part."""
    kind = (config.get("ensemble") or {}).get("kind")
    if kind not in TRAINED or not isinstance(data, Parts) or (kind == "seeds" and not index):
        return data
    return data.reseeded(int(config["seed"]) + index, bootstrap=kind == "bootstrap")


def train_and_measure(
    job: Job, record: Record, folder: Path, trainer: Trainer, module: LightningModule, data: LightningDataModule, seconds: float
) -> None:
    """Train what members the finished run does not hold yet, and evaluate all.

    Args:
        job: The run.
        record: To write into.
        folder: Of the run.
        trainer: Whose fit has ended.
        module: With the weights that are to be tested; the first member, or all of them.
        data: The run's data.
        seconds: What the fit took.
    """
    chosen = job.settings["ensemble"]
    kind, count, failed = str(chosen["kind"]), int(chosen["members"]), dict[str, str]()
    spent, beside = (seconds, seconds), None
    if kind in TRAINED:
        members = [Member(name="member 1", module=module)]
        with job.stages("members"):
            start = time.perf_counter()
            for index in range(1, count):
                try:
                    members.append(Member(name=f"member {index + 1}", module=trained(job, folder, data, index)))
                except UsageError:
                    raise
                except Exception as error:  # a member that breaks costs itself; the report names it
                    failed[f"member {index + 1}"] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            spent = (seconds, seconds + time.perf_counter() - start)
    elif kind == "snapshot":
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        kept = next(c for c in callbacks if isinstance(c, SnapshotEnsemble)).paths
        members = [Member(name=f"snapshot {k + 1}", module=copy_with(job, data, Path(path))) for k, path in enumerate(kept)]
        failed = {f"snapshot {k + 1}": "its cycle was not trained to its end" for k in range(len(kept), count)}
    elif kind == "heads":
        members = heads(module)
    else:
        members, beside = asked(job, module, count)
    measure(job, record, members, data, kind=kind, failed=failed, beside=beside, train_seconds=None if kind == "heads" else spent)


def asked(job: Job, module: LightningModule, count: int) -> tuple[list[Member], Member]:
    """One network with its dropout on so many times, and as it is."""
    return mc_dropout(module, count, seed=int(job.settings["seed"])), Member(name="without dropout", module=module)


def trained(job: Job, folder: Path, data: LightningDataModule, index: int) -> LightningModule:
    """One more member: another seed, the callbacks of the run, a doctor of its own, the best checkpoint."""
    settings = {**job.settings, "seed": int(job.settings["seed"]) + index, "logger": None}
    setup.prepare(settings)
    module = setup.module(settings, data)
    place = folder / "checkpoints" / f"member-{index + 1}"
    doctor = Doctor(record=Record(), rules=job.rules, probes=False)
    start = time.perf_counter()
    trainer = setup.trainer(settings, place, [*setup.callbacks(settings, place, module), doctor], module)
    trainer.fit(module, datamodule=data_of(settings | {"seed": job.settings["seed"]}, data, index))
    best = averaged(trainer, place) or str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
    if best:
        load(module, Path(best), trust=True)  # written by this very run
    found = ", ".join(f.rule for f in doctor.diagnosis.at_or_above(Severity.ERROR))
    text = f"member {index + 1}   seed {settings['seed']}, {trainer.current_epoch} epochs, {time.perf_counter() - start:.1f} s"
    job.console.print(f"{text}{f', {found}' if found else ''}", soft_wrap=True, markup=False)
    return module


def copy_with(job: Job, data: LightningDataModule, path: Path) -> LightningModule:
    """A module of the run's config with the weights of a checkpoint."""
    module = setup.module(job.settings, data)
    load(module, path, trust=bool(job.settings["trust_checkpoint"]))
    return module


def loaded(job: Job, kind: str, files: list[str], count: int) -> Callable[[Record], None]:
    """Build the members of an ensemble from checkpoints now, measure them later.

    Raises:
        UsageError: A checkpoint does not load, or its model cannot be asked so.
    """
    paths = [runs.checkpoint_file(file) for file in files]
    setup.prepare(job.settings)
    with job.stages("data"):
        data = setup.data(job.settings)
    modules = [copy_with(job, data, path) for path in paths]
    setup.check_layers(job.settings, modules[0])
    beside = None
    try:
        if kind == "mc_dropout":
            members, beside = asked(job, modules[0], count)
        elif kind == "heads":
            members = heads(modules[0])
        else:
            members = [Member(name=f"member {k + 1}", module=module) for k, module in enumerate(modules)]
    except ValueError as error:
        raise UsageError(f"ensemble={kind}: {error}") from error
    return lambda record: measure(job, record, members, data, kind=kind, beside=beside)


def measure(job: Job, record: Record, members: list[Member], data: LightningDataModule, **options: Any) -> None:
    """Evaluate an ensemble on the test part of its data."""
    with job.stages("evaluate"):
        data.prepare_data()
        data.setup("test")
        setup.fingerprint(record, data)
        own = {name: job.settings[name] for name in ("layers", "task", "projection")}
        names = getattr(data, "class_names", None)
        evaluate_ensemble(
            members, data.test_dataloader(), record=record, class_names=names, seed=int(job.settings["seed"]), **own, **options
        )
        record.skip("evaluation.train", "the test numbers are those of the ensemble")
