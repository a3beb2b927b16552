"""The words of a command line: the command, its flags, its overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

COMMANDS = {
    "train": "check, train with the doctor, evaluate on the test part, write the report",
    "check": "only what can be known before training",
    "evaluate": "a report from a checkpoint (ckpt_path=...) or from a table of predictions (predictions=...)",
    "lr_range": "suggest a learning rate: a range test over several seeds; changes nothing",
    "batch_size": "which batch sizes fit in memory, are fast, and are worth it by the gradient's noise; changes nothing",
    "tune": "search over keys of the config: tune.space.optimizer.lr='log(1e-4, 1e-1)'",
    "report": "judge and render a saved run again: report RUN; compare two: report RUN_A RUN_B",
    "rules": "list the rules",
    "explain": "print the page of a rule: explain T302",
    "replay": "run the saved reproduction of a non-finite step again: replay FILE",
}
VALUED = {
    **dict.fromkeys(("--cfg", "-c"), "cfg"),
    **dict.fromkeys(("--config-dir", "-cd"), "config_dir"),
    **dict.fromkeys(("--config-path", "-cp"), "config_path"),
    **dict.fromkeys(("--config-name", "-cn"), "config_name"),
}
SWITCHES = {
    **dict.fromkeys(("--help", "-h"), "help"),
    **dict.fromkeys(("--multirun", "-m"), "multirun"),
    **{f"--{name}": name for name in ("resolve", "json", "debug", "version")},
}


class UsageError(Exception):
    """What the user typed cannot be done; the text says what was expected, what came and what to do, in at most six lines."""


@dataclass(kw_only=True)
class Arguments:
    """A parsed command line."""

    command: str
    words: list[str] = field(default_factory=list)
    cfg: str = ""
    config_dir: str = ""
    config_path: str = ""
    config_name: str = "config"
    help: bool = False
    multirun: bool = False
    resolve: bool = False
    json: bool = False
    debug: bool = False
    version: bool = False

    @property
    def module(self) -> str:
        """The file in this folder that runs the command."""
        return "usage" if self.help or self.version or not self.command else self.command


def nearest(word: str, known: Sequence[str], cutoff: float = 0.5) -> str:
    """``"; did you mean 'train'?"``, or nothing."""
    close = get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def parse(argv: list[str]) -> Arguments:
    """Split ``argv`` (without the program's name) into command, flags and words.

    Raises:
        UsageError: The command or a flag is unknown, or a flag lacks its value.
    """
    result = Arguments(command="")
    rest = iter(argv)
    for word in rest:
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if flag in VALUED:
            value = value if equals else next(rest, "")
            if not value:
                raise UsageError(f"{flag} needs a value, for example {flag}=job" if flag in ("--cfg", "-c") else f"{flag} needs a value")
            setattr(result, VALUED[flag], value)
        elif word in SWITCHES:
            setattr(result, SWITCHES[word], True)
        elif word.startswith("-") and word != "-":
            raise UsageError(f"there is no option {word!r}{nearest(word, [*VALUED, *SWITCHES])}\nsee: python -m diagnose --help")
        elif not result.command and "=" not in word:
            if word not in COMMANDS:
                raise UsageError(f"there is no command {word!r}{nearest(word, list(COMMANDS))}\nthe commands are {', '.join(COMMANDS)}")
            result.command = word
        else:
            result.words.append(word)
    if result.words and not result.command:
        raise UsageError(f"expected a command before {result.words[0]!r}, for example: python -m diagnose train {result.words[0]}")
    return result
