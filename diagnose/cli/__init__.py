"""The command line: ``python -m diagnose COMMAND [hydra overrides]``. ``sys.argv`` is read, never changed: DDP replays it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from traceback import print_exc

from diagnose.cli.arguments import Arguments, UsageError, parse

USAGE_ERROR, INTERRUPTED = 2, 130
MOST_LINES = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 clean, 1 findings at or above ``fail_on``, 2 usage or configuration error, 130 interrupted.
    """
    arguments = Arguments(command="")
    try:
        arguments = parse(list(sys.argv[1:] if argv is None else argv))
        return int(import_module(f"diagnose.cli.{arguments.module}").run(arguments))
    except UsageError as error:
        if arguments.debug:
            print_exc()
            return USAGE_ERROR
        lines = str(error).strip().splitlines()
        print("\n".join([f"diagnose: {lines[0]}", *lines[1:MOST_LINES]]), file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("diagnose: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head` closed the pipe
        sys.stderr.close()
        return 0
