"""``evaluate``: a report from a checkpoint, or from a table of targets and predictions of any framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnose.cli import compare, ensemble_words, runs
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import normalise, parsed
from diagnose.cli.job import Job, finish, prepare, repeat, versions
from diagnose.cli.own_classes import with_own_classes
from diagnose.cli.result import Result
from diagnose.identity import commit, digest
from diagnose.record import Record

if TYPE_CHECKING:
    from diagnose.namespace import LightningDataModule, LightningModule

TABLE = ("seed", "command", "output_dir", "fail_on", "predictions", "columns", "task", "rules")  # keys that a table of predictions heeds


def run(arguments: Arguments) -> int:
    """Evaluate; of two checkpoints or tables (``ckpt_path=[A,B]``) each, and compare them; with ``ensemble=`` they are one model."""
    arguments = with_own_classes(arguments)
    if (asked := ensemble_words.asked(arguments.words)) is not None:
        return repeat(with_config(replace(arguments, words=asked.words)), "evaluate", lambda job: once(job, asked))
    found = compare.pair(arguments.words)
    if found is None:
        return repeat(with_config(arguments), "evaluate", once)
    key, files, words = found
    terms, words = compare.terms(words)
    if arguments.multirun or arguments.cfg:
        raise UsageError(f"{key}=[A,B] compares two files: without --multirun and --cfg")
    for file in files:  # both, before the first is evaluated
        if not Path(file).is_file():
            raise UsageError(f"there is no file {file!r}")
    made: list[Path] = []
    for file in files:
        own = with_config(replace(arguments, words=[f"{key}={file}", *words]))
        job = prepare(own, "evaluate", normalise(own.words, own.config_dir))
        if (folder := once(job).folder) is not None:
            made.append(folder)
    return compare.compare_runs((made[0], made[1]), terms, arguments, compare.labels((Path(files[0]), Path(files[1]))))


def with_config(arguments: Arguments) -> Arguments:
    """A checkpoint inside a run's folder brings that run's config along."""
    saved = None if arguments.config_path else saved_config(arguments)
    return replace(arguments, config_path=str(saved), config_name="config") if saved else arguments


def saved_config(arguments: Arguments) -> Path | None:
    for word in parsed(normalise(arguments.words, arguments.config_dir)):
        if word.key_or_group == "ckpt_path" and not word.is_sweep_override() and word.value():
            return runs.saved_config(Path(str(word.value())))
    return None


def once(job: Job, asked: ensemble_words.Asked | None = None) -> Result:
    settings = job.settings
    if bool(settings["ckpt_path"]) == bool(settings["predictions"]):
        raise UsageError("evaluate needs ckpt_path=FILE (a checkpoint) or predictions=FILE (a .csv, .npz or .parquet table)")
    measure = from_table(job) if settings["predictions"] else from_checkpoint(job, asked)
    with runs.folder(job.composed) as folder, closing(Record(folder / "record")) as record:
        config = runs.redacted(job.composed.config)
        record.add("config", {k: v for k, v in config.items() if k in TABLE} if settings["predictions"] else config)
        facts = {"command": "evaluate", "seed": settings["seed"], "git": commit(str(Path.cwd())), "interrupted": ""}
        record.add("run", {**facts, **sources(settings, asked)})
        try:
            measure(record)
        except ValueError as error:
            where = f"{Path(str(settings['predictions'])).name}: " if settings["predictions"] else ""
            raise UsageError(f"{where}{error}") from error
        record.add("stages", job.stages.rows())
        result = finish(record, folder, rules=job.rules, fail_on=job.fail_on, stages=job.stages, console=job.console)
    return result


def sources(settings: Mapping[str, Any], asked: ensemble_words.Asked | None) -> dict[str, Any]:
    """The files that are evaluated with their digests, and the versions of what reads them."""
    key = "predictions" if settings["predictions"] else "checkpoint"
    files = asked.files if asked is not None else [str(settings["predictions"] or settings["ckpt_path"])]
    used = versions(*(("scikit-learn", "numpy") if key == "predictions" else ()))
    return {key: ", ".join(files), f"{key}_sha256": ", ".join(digest(Path(file)) for file in files), "versions": used}


def from_table(job: Job) -> Callable[[Record], None]:
    """Read the table now, measure it later; torch stays out."""
    with job.stages("read"):
        from diagnose.cli.tables import Names, read_predictions
        from diagnose.evaluation import evaluate_predictions

        task = job.settings["task"]
        table = {"task": task, **read_predictions(Path(job.settings["predictions"]), Names.of(job.settings["columns"]), task=task)}

    def measure(record: Record) -> None:
        with job.stages("evaluate"):
            evaluate_predictions(record=record, **table, seed=int(job.settings["seed"]))

    return measure


def from_checkpoint(job: Job, asked: ensemble_words.Asked | None = None) -> Callable[[Record], None]:
    """Build the module, or the members of an ensemble, and load the weights now, measure later."""
    if asked is not None:
        with job.stages("import"):
            from diagnose.cli.ensemble import loaded
        return loaded(job, asked.kind, list(asked.files), asked.members)
    path = runs.checkpoint_file(job.settings["ckpt_path"])
    with job.stages("import"):
        from diagnose.cli import setup
        from diagnose.cli.checkpoint import load, restored
    setup.prepare(job.settings)
    with job.stages("data"):
        data = setup.data(job.settings)
    trust = bool(job.settings["trust_checkpoint"])
    if setup.builtin(job.settings):
        module = setup.module(job.settings, data)
        load(module, path, trust=trust)
    else:
        module = restored(job.settings["model"], job.settings["allow_targets"], path, trust=trust)
    setup.check_layers(job.settings, module)
    return lambda record: measure_test(job, record, module, data)


def measure_test(job: Job, record: Record, module: LightningModule, data: LightningDataModule) -> None:
    """Evaluate a module on the test part of its data, which may have none."""
    with job.stages("import"):
        from diagnose.cli.setup import fingerprint
        from diagnose.data.parts import Parts
        from diagnose.evaluation import evaluate, evaluate_training
        from diagnose.experiments.batch_norm import measure_batch_norm
        from diagnose.namespace import from_home
    with job.stages("evaluate"):
        data.prepare_data()
        data.setup("test")
        try:
            loader = data.test_dataloader()
        except from_home(data, "utilities.exceptions.MisconfigurationException") as error:
            record.skip("evaluation", str(error).splitlines()[0])
            return
        names, seed = getattr(data, "class_names", None), int(job.settings["seed"])
        own = {name: job.settings[name] for name in ("layers", "task", "samples", "projection")}
        fingerprint(record, data)
        table = data if isinstance(data, Parts) and data.feature_names else None
        named, unit = (None, None) if table is None else (table.feature_names, table.original)
        evaluate(module, loader, record=record, class_names=names, seed=seed, feature_names=named, original=unit, **own)
        try:
            data.setup("fit")
            evaluate_training(module, data.train_dataloader(), record=record, class_names=names, seed=seed)
        except Exception as error:  # a step or a data module that serves the test alone costs this comparison and no more
            record.skip("evaluation.train", f"the training data could not be evaluated: {type(error).__name__}: {error}")
        try:
            measure_batch_norm(record, module, data.train_dataloader(), datamodule=data)
        except Exception as error:  # likewise
            record.skip("batch_norm", f"batch norm could not be measured: {type(error).__name__}: {error}")
