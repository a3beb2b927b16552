"""What the commands ``lr_range`` and ``batch_size`` share, and how ``train`` takes over a suggested rate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from diagnose.cli import runs
from diagnose.cli.arguments import UsageError
from diagnose.cli.job import Job, finish
from diagnose.cli.result import Result
from diagnose.record import Record

if TYPE_CHECKING:
    from diagnose.namespace import LightningDataModule, LightningModule


def find(job: Job, name: str, finder: Callable[..., Any], options: dict[str, Any] | None = None) -> Result:
    """Run a finder and write its report.

    Args:
        job: The run.
        name: Of the command, and of its keys in the config.
        finder: Called with the module, its data and the options.
        options: In place of those of the config.

    Raises:
        UsageError: An option is out of range.
    """
    settings = job.settings
    with job.stages("import"):
        from diagnose.cli import setup
    setup.prepare(settings)
    with job.stages("data"):
        data = setup.data(settings)
    module = setup.module(settings, data)
    given = {k: v for k, v in (options if options is not None else settings.get(name) or {}).items() if k != "use"}
    with runs.folder(job.composed) as folder, closing(Record(folder / "record")) as record:
        trainer = setup.trainer(settings, folder, setup.callbacks(settings, folder, module), module)
        setup.describe(record, job, name)
        try:
            with job.stages("try"):
                finder(module, datamodule=data, trainer=trainer, record=record, **given)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {error}") from error
        record.add("stages", job.stages.rows())
        return finish(record, folder, rules=(), fail_on=job.fail_on, stages=job.stages, console=job.console)


def suggested_rate(job: Job, module: LightningModule, data: LightningDataModule, record: Record) -> float | None:
    """The rate that a range test suggests, where ``lr_range.use`` asks for it; it becomes ``optimizer.lr`` of the run and of its replay.

    Raises:
        UsageError: The model brings its own optimizer, or an option is out of range.
    """
    options = dict(job.settings.get("lr_range") or {})
    if not options.pop("use", False):
        return None
    from diagnose.cli.setup import builtin
    from diagnose.experiments.rate_range import FACT, lr_range

    if not builtin(job.settings):
        raise UsageError(
            "lr_range.use sets optimizer.lr, which a model of one's own does not read\nlook first: python -m diagnose lr_range"
        )
    try:
        found = lr_range(module, datamodule=data, record=record, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"lr_range: {error}") from error
    if found.suggestion is None:
        job.console.print(f"lr_range   no suggestion, optimizer.lr stays: {found.reason}", markup=False, soft_wrap=True)
        return None
    rate = float(f"{found.suggestion:.3g}")
    record.add(FACT, {**record.facts[FACT], "used": rate})
    job.console.print(f"lr_range   optimizer.lr is {rate:g}, was {job.settings['optimizer']['lr']:g}", markup=False, soft_wrap=True)
    job.settings["optimizer"]["lr"] = rate
    OmegaConf.update(job.composed.config, "optimizer.lr", rate)
    OmegaConf.update(job.composed.config, "lr_range.use", False)
    return rate
