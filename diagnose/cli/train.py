"""``train``: check, train with the doctor, evaluate on the test part from the best checkpoint, write the report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.finding import suggested_rate
from diagnose.cli.job import INTERRUPTED, Job, finish, repeat, versions
from diagnose.cli.result import Result
from diagnose.identity import digest
from diagnose.record import Record

if TYPE_CHECKING:
    from diagnose.namespace import LightningDataModule, LightningModule, Trainer

RESUME = "DIAGNOSE_RESUME_FROM"


def run(arguments: Arguments) -> int:
    return repeat(arguments, "train", train)


def train(job: Job) -> Result:
    """One training from check to report; in a process that Lightning launched beside the first (DDP), only its share of the training."""
    settings = job.settings
    with job.stages("import"):
        from diagnose.cli import averaging, ensemble, setup
    setup.prepare(settings)
    with job.stages("data"):
        data = setup.data(settings)
    averaging.check(settings, data)
    ensemble.check(settings, data)
    module = setup.module(settings, data)
    ensemble.check_module(settings, module)
    setup.check_layers(settings, module)
    resume = resumable(settings, module)
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        place, record = Path(job.composed.folder), Record()
        if suggested_rate(job, module, data, record) is not None:
            module = setup.module(settings, data)
        setup.trainer(settings, place, watchers(job, record, place, module), module).fit(module, datamodule=data, **resume)
        leave_group()
        return Result(status=0)
    with runs.folder(job.composed) as folder, closing(Record(folder / "record")) as record:
        job.console.print(f"folder     {folder}\nseed       {settings['seed']}", soft_wrap=True, markup=False)
        job.console.print("versions   " + ", ".join(f"{k} {v}" for k, v in versions().items()), soft_wrap=True, markup=False)
        if suggested_rate(job, module, data, record) is not None:
            setup.prepare(settings)
            module = setup.module(settings, data)
        trainer = setup.trainer(settings, folder, watchers(job, record, folder, module), module)
        setup.describe(record, job, "train")
        for note in (notes := getattr(data, "notes", ())):
            job.console.print(f"data       {note}", soft_wrap=True, markup=False)
        record.add("data_notes", list(notes))
        failure = attempt(lambda: work(job, record, folder, trainer, module, data, resume), record, trainer, job)
        leave_group()
        record.add("stages", job.stages.rows())
        result = finish(record, folder, rules=job.rules, fail_on=job.fail_on, stages=job.stages, console=job.console)
    if isinstance(failure, Exception):
        raise failure  # the user's own, with its traceback
    return replace(result, status=INTERRUPTED) if failure else result


def watchers(job: Job, record: Record, folder: Path, module: LightningModule) -> list[Any]:
    """The callbacks of the config, the doctor and the live display."""
    from diagnose.callbacks import Doctor
    from diagnose.cli import setup
    from diagnose.cli.progress import LiveProgress

    own = setup.callbacks(job.settings, folder, module)
    try:
        doctor = Doctor(record=record, rules=job.rules, **((job.settings.get("callbacks") or {}).get("doctor") or {}))
    except (TypeError, ValueError) as error:
        raise UsageError(f"callbacks.doctor: {error}") from error
    return [*own, doctor, LiveProgress(job.console)]


def work(
    job: Job, record: Record, folder: Path, trainer: Trainer, module: LightningModule, data: LightningDataModule, resume: dict[str, Any]
) -> None:
    """Check, fit, evaluate."""
    with job.stages("import"):
        from diagnose.cli import ensemble
        from diagnose.cli.averaging import averaged
        from diagnose.cli.checkpoint import load
        from diagnose.cli.evaluate import measure_test
        from diagnose.experiments.check import check
    with job.stages("check"):
        check(module, datamodule=data, trainer=trainer, record=record, rules=job.rules)
    with job.stages("fit"):
        start = time.perf_counter()
        trainer.fit(module, datamodule=ensemble.data_of(job.settings, data, 0), **resume)
        seconds = time.perf_counter() - start
    best = averaged(trainer, folder) or str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
    update(record, checkpoint=relative(best, folder), versions=versions())
    if best:
        update(record, checkpoint_sha256=digest(Path(best)))
        load(module, Path(best), trust=True)  # written by this very run
    try:
        if job.settings.get("ensemble"):
            ensemble.train_and_measure(job, record, folder, trainer, module, data, seconds)
        else:
            measure_test(job, record, module, data)
    except ValueError as error:  # no predictions to be found, or none that is finite: the report says so
        record.skip("evaluation", str(error))
        job.console.print(f"not evaluated: {error}", style="yellow", markup=False, soft_wrap=True)


def leave_group() -> None:
    """End the threads by which processes talk: left to the end of Python, they now and then take the process down, and it the others."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def attempt(task: Callable[[], None], record: Record, trainer: Trainer, job: Job) -> BaseException | None:
    """Run a task; what broke it off is returned, and said in the record. What concerns the run's folder is raised."""
    try:
        task()
    except BaseException as error:
        if isinstance(error, UsageError | GeneratorExit) or (isinstance(error, OSError) and error.errno in runs.FULL):
            raise
        where = f"at epoch {trainer.current_epoch}, step {trainer.global_step}"
        if isinstance(error, Exception):
            said = f"interrupted {where} by {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        else:  # Ctrl-C, which Lightning turns into exit(1) after its own cleaning up
            said = f"interrupted {where}"
        update(record, interrupted=said, versions=versions())
        job.console.print(said, style="yellow", markup=False, soft_wrap=True)
        return error
    return None


def resumable(settings: dict[str, Any], module: LightningModule) -> dict[str, Any]:
    """Arguments of ``Trainer.fit`` to go on from ``ckpt_path``; tried on a copy, so that the module is still checked as new.

    The path is resolved now, and handed to the processes that Lightning launches: ``outputs/train/latest`` is about to move.
    """
    if not settings["ckpt_path"]:
        return {}
    from diagnose.cli.checkpoint import load

    first = int(os.environ.get("LOCAL_RANK", 0)) == 0
    path = runs.checkpoint_file(settings["ckpt_path"] if first else os.environ.get(RESUME) or settings["ckpt_path"]).resolve()
    os.environ[RESUME] = str(path)
    load(deepcopy(module), path, trust=bool(settings["trust_checkpoint"]))
    return {"ckpt_path": str(path), "weights_only": not settings["trust_checkpoint"]}


def update(record: Record, **values: Any) -> None:
    record.add("run", {**record.facts.get("run", {}), **values})


def relative(path: str, folder: Path) -> str:
    return str(Path(path).relative_to(folder)) if path and Path(path).is_relative_to(folder) else path
