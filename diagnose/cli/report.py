"""``report RUN``: judge and render a saved run again. Torch is not needed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import rule_option
from diagnose.cli.runs import Stages
from diagnose.cli.train import finish
from diagnose.record import Record
from diagnose.rules import build
from diagnose.values import Severity


def run(arguments: Arguments) -> int:
    folders = [Path(w) for w in arguments.words if "=" not in w or Path(w).exists()]
    words = [w for w in arguments.words if "=" in w and not Path(w).exists()]
    if not folders:
        raise UsageError("report needs the folder of a run, for example: python -m diagnose report outputs/train/latest")
    statuses = [_render(folder, words, arguments) for folder in folders]
    return max(statuses)


def _render(folder: Path, words: list[str], arguments: Arguments) -> int:
    try:
        record = Record.read(folder / "record")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{str(folder)!r} is no run: {error}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    settings = record.facts.get("config", {})
    chosen = {**settings.get("rules", {}), "fail_on": settings.get("fail_on", "error")}
    for word in words:
        _set(chosen, word)
    try:
        rules = build(chosen.get("select") or (), chosen.get("ignore") or (), chosen.get("options") or {})
        fail_on = Severity(chosen["fail_on"])
    except ValueError as error:
        raise UsageError(str(error)) from error
    record.facts.setdefault("run", {"command": "report"})
    status, _ = finish(record, rules, folder, Stages(), arguments, Console(stderr=arguments.json, highlight=False), fail_on=fail_on)
    return status


def _set(chosen: dict[str, object], word: str) -> None:
    """Apply ``rules.select=[M]``, ``rules.ignore=[D104]``, ``rules.<name>.<threshold>=...`` or ``fail_on=warning`` to a saved run."""
    from omegaconf import OmegaConf

    key, _, value = rule_option(word).lstrip("+").partition("=")
    parsed = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))
    assert isinstance(parsed, dict)
    if key == "fail_on":
        chosen["fail_on"] = parsed["value"]
    elif key in ("rules.select", "rules.ignore"):
        chosen[key.partition(".")[2]] = parsed["value"]
    elif key.startswith("rules.options."):
        code, _, name = key.removeprefix("rules.options.").partition(".")
        options = chosen.setdefault("options", {})
        assert isinstance(options, dict)
        options.setdefault(code, {})[name] = parsed["value"]
    else:
        raise UsageError(f"report takes rules.select, rules.ignore, thresholds of rules and fail_on, got {word!r}")
