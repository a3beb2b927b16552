"""``evaluate``: a report from a checkpoint, or from a table of targets and predictions of any framework."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import Composed, normalise
from diagnose.cli.train import chosen_rules, finish, plain, repeat, threshold, versions
from diagnose.record import Record
from diagnose.report.values import Report


def run(arguments: Arguments) -> int:
    """Evaluate; a checkpoint inside a run's folder brings that run's config along."""
    saved = _saved_config(arguments)
    return repeat(replace(arguments, config_path=str(saved)) if saved and not arguments.config_path else arguments, "evaluate", _evaluate)


def _saved_config(arguments: Arguments) -> Path | None:
    for word in normalise(arguments.words, arguments.config_dir):
        key, _, value = word.partition("=")
        if key == "ckpt_path":
            folder = Path(value.strip("'")).absolute().parent
            for place in (folder, folder.parent):
                if (place / ".hydra" / "config.yaml").is_file():
                    return place / ".hydra"
    return None


def _evaluate(arguments: Arguments, composed: Composed) -> tuple[int, Report]:
    settings = plain(composed)
    rules, fail_on = chosen_rules(settings), threshold(settings)
    if not settings.get("ckpt_path") and not settings.get("predictions"):
        raise UsageError("evaluate needs ckpt_path=FILE (a checkpoint) or predictions=FILE (a .csv, .npz or .parquet table)")
    stages = runs.Stages()
    console = Console(stderr=arguments.json, highlight=False)
    prepare = _from_table if settings.get("predictions") else _from_checkpoint
    measure = prepare(settings, stages)
    folder = runs.create(composed)
    record = Record(folder / "record")
    record.add("config", runs.redacted(composed.config))
    record.add("run", {"command": "evaluate", "seed": settings["seed"], "versions": versions(), "interrupted": "",
                       "checkpoint": str(settings.get("ckpt_path") or settings["predictions"])})  # fmt: skip
    with stages("evaluate"):
        try:
            measure(record)
        except ValueError as error:
            raise UsageError(str(error)) from error
    result = finish(record, rules, folder, stages, arguments, console, fail_on=fail_on)
    record.close()
    return result


def _from_table(settings: dict[str, Any], stages: runs.Stages) -> Any:
    with stages("read"):
        from diagnose.cli.tables import read_predictions
        from diagnose.evaluation import evaluate_predictions

        table = read_predictions(Path(settings["predictions"]))
    return lambda record: evaluate_predictions(record, **table, seed=int(settings["seed"]))


def _from_checkpoint(settings: dict[str, Any], stages: runs.Stages) -> Any:
    path = Path(settings["ckpt_path"])
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {str(path)!r}")
    with stages("import"):
        from diagnose.cli import setup
        from diagnose.evaluation import evaluate
    setup.prepare(settings)
    data = setup.data(settings)
    module = setup.module(settings, data)
    _load(module, path, trust=bool(settings["trust_checkpoint"]))
    names = getattr(data, "class_names", None)
    data.prepare_data()
    data.setup("test")
    loader = data.test_dataloader()
    return lambda record: evaluate(module, loader, record=record, layers=settings["layers"], class_names=names, seed=int(settings["seed"]))


def _load(module: Any, path: Path, *, trust: bool) -> None:
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"the checkpoint {str(path)!r} is refused: it holds more than weights, or is damaged\n{first[:200]}\n"
            "if you trust its source: trust_checkpoint=true (it can then run code)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UsageError(f"the checkpoint {str(path)!r} is damaged or no checkpoint: {str(error).splitlines()[0][:200]}") from error
    weights = saved.get("state_dict") if isinstance(saved, dict) else None
    if not isinstance(weights, dict):
        raise UsageError(f"{str(path)!r} is no Lightning checkpoint: it has no 'state_dict'")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip()[:150] for line in str(error).splitlines()]
        first = f"the checkpoint {str(path)!r} belongs to another model than {type(module).__qualname__}:"
        last = "choose the model as it was trained, for example model=cnn model.hidden=32"
        raise UsageError("\n".join([first, *lines[1:4], last])) from error
