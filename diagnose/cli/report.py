"""``report RUN``: judge and render a saved run again. Torch is not needed."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import rule_option
from diagnose.cli.job import Result, chosen_rules, finish, severity
from diagnose.cli.runs import Stages, followed
from diagnose.record import Record


def run(arguments: Arguments) -> int:
    folders = [Path(w) for w in arguments.words if "=" not in w or Path(w).exists()]
    words = [w for w in arguments.words if "=" in w and not Path(w).exists()]
    if not folders:
        raise UsageError("report needs the folder of a run, for example: python -m diagnose report outputs/train/latest")
    results = [render(followed(folder), words, Console(stderr=arguments.json, highlight=False)) for folder in folders]
    if arguments.json:
        documents = [result.to_dict() for result in results]
        print(json.dumps(documents if len(documents) > 1 else documents[0], indent=1, allow_nan=False))
    return max(result.status for result in results)


def render(folder: Path, words: list[str], console: Console) -> Result:
    try:
        record = Record.read(folder / "record")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{str(folder)!r} is no run: {error}") from error
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    settings = record.facts.get("config") or {}
    chosen = {**(settings.get("rules") or {}), "fail_on": settings.get("fail_on", "error")}
    for word in words:
        apply(chosen, word)
    rules, fail_on = chosen_rules(chosen), severity(chosen["fail_on"])
    return finish(record, folder, rules=rules, fail_on=fail_on, stages=Stages(), console=console)


def apply(chosen: dict[str, object], word: str) -> None:
    """Apply ``rules.select=[M]``, ``rules.ignore=[D104]``, ``rules.<name>.<threshold>=...`` or ``fail_on=warning`` to a saved run."""
    key, _, value = rule_option(word).lstrip("+").partition("=")
    node = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))
    assert isinstance(node, dict)
    if key == "fail_on":
        chosen["fail_on"] = node["value"]
    elif key in ("rules.select", "rules.ignore"):
        chosen[key.partition(".")[2]] = node["value"]
    elif key.startswith("rules.options."):
        code, _, name = key.removeprefix("rules.options.").partition(".")
        options = chosen["options"] = dict(chosen.get("options") or {})  # type: ignore[call-overload]
        options[code] = {**options.get(code, {}), name: node["value"]}
    else:
        raise UsageError(f"report takes rules.select, rules.ignore, thresholds of rules and fail_on, got {word!r}")
