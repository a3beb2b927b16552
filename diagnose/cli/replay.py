"""``replay FILE``: run the saved reproduction of a non-finite step again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments, UsageError


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise UsageError("replay needs one file, for example: python -m diagnose replay outputs/train/latest/record/nonfinite.pt")
    path = Path(arguments.words[0])
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    from diagnose.experiments.replay import replay

    try:
        print(replay(path, own_module(arguments, path)))
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error).splitlines()[0]) from error
    return 0


def own_module(arguments: Arguments, path: Path) -> Any:
    """The module of the run that the file lies in, by that run's config; ``None`` for a file from elsewhere."""
    saved = runs.saved_config(path)
    if saved is None:
        return None
    from diagnose.cli import setup
    from diagnose.cli.job import prepare

    job = prepare(replace(arguments, config_path=str(saved)), "train", [])
    setup.prepare(job.settings)
    return setup.module(job.settings, setup.data(job.settings))
