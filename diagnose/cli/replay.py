"""``replay FILE``: run the saved reproduction of a non-finite step again."""

from __future__ import annotations

from pathlib import Path

from diagnose.cli.arguments import Arguments, UsageError


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise UsageError("replay needs one file, for example: python -m diagnose replay outputs/train/latest/record/nonfinite.pt")
    path = Path(arguments.words[0])
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    from diagnose.experiments.replay import replay

    try:
        print(replay(path))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0
