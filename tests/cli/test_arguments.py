"""The words of a command line: command, flags, overrides."""

from __future__ import annotations

import pytest

from diagnose.cli.arguments import UsageError, nearest, parse


def test_flags_and_words_are_told_apart() -> None:
    found = parse(["train", "+model=mlp", "-m", "seed=1,2", "--config-dir", "mine", "--cfg=job", "--json"])
    assert (found.command, found.words) == ("train", ["+model=mlp", "seed=1,2"])
    assert (found.multirun, found.config_dir, found.cfg, found.json, found.debug) == (True, "mine", "job", True, False)


def test_the_command_may_follow_flags() -> None:
    assert parse(["--json", "report", "outputs/x"]).words == ["outputs/x"]


@pytest.mark.parametrize("argv", [[], ["--help"], ["train", "--help"], ["--version"]])
def test_without_a_command_or_with_help_the_usage_answers(argv: list[str]) -> None:
    assert parse(argv).module == "usage"


def test_argv_is_left_as_it_was() -> None:
    argv = ["train", "-m", "seed=1,2"]
    parse(argv)
    assert argv == ["train", "-m", "seed=1,2"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["trian"], r"there is no command 'trian'; did you mean 'train'\?\nthe commands are train, check, "),
        (["train", "--jsn"], r"there is no option '--jsn'; did you mean '--json'\?\nsee: python -m diagnose --help"),
        (["train", "--config-dir"], "--config-dir needs a value"),
        (["train", "--cfg"], "--cfg needs a value, for example --cfg=job"),
        (["model=mlp"], "expected a command before 'model=mlp', for example: python -m diagnose train model=mlp"),
    ],
)
def test_errors_name_the_nearest(argv: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        parse(argv)


def test_nothing_near_gives_no_advice() -> None:
    assert nearest("zzz", ["train", "check"]) == ""
