"""``report RUN``: judge and render a saved run again; ``report RUN_A RUN_B``: compare two; of a search, its page. Torch is not needed."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli import compare
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import rule_option
from diagnose.cli.job import chosen_rules, finish, severity
from diagnose.cli.result import Result
from diagnose.cli.runs import Stages, followed
from diagnose.cli.tune import FILE, tell
from diagnose.search.values import Search


def run(arguments: Arguments) -> int:
    folders = [Path(w) for w in arguments.words if "=" not in w or Path(w).exists()]
    words = [w for w in arguments.words if "=" in w and not Path(w).exists()]
    if not folders:
        raise UsageError("report needs the folder of a run, for example: python -m diagnose report outputs/train/latest")
    if searches := [place for folder in folders if ((place := followed(folder)) / FILE).is_file()]:
        if words or len(searches) < len(folders):
            raise UsageError(f"the page of a search is made by itself, without {[*words, *map(str, folders)][-1]!r}")
        return max(again(place.absolute(), arguments) for place in searches)
    if len(folders) == 2:
        chosen, rest = compare.terms(words)
        if rest:
            raise UsageError(f"a comparison takes fail_on (worse, or a severity) and margin, got {rest[0]!r}")
        return compare.compare_runs((followed(folders[0]), followed(folders[1])), chosen, arguments)
    results = [render(followed(folder), words, Console(stderr=arguments.json, highlight=False)) for folder in folders]
    if arguments.json:
        documents = [result.to_dict() for result in results]
        print(json.dumps(documents if len(documents) > 1 else documents[0], indent=1, allow_nan=False))
    return max(result.status for result in results)


def again(folder: Path, arguments: Arguments) -> int:
    """Render the page of a search or a sweep again."""
    try:
        found = Search.read(folder / FILE)
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    return tell(found, folder, Console(stderr=arguments.json, highlight=False), as_json=arguments.json)


def render(folder: Path, words: list[str], console: Console) -> Result:
    record = compare.read(folder)
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
