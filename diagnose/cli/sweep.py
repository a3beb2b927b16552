"""What the runs of ``--multirun`` have in common and what distinguishes them: a table in the terminal, one page for all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli.result import Result
from diagnose.record import Record
from diagnose.search.values import Confirmed, Search, Tried, interval

METRIC = "val/loss"
SEED = "seed"


def print_table(sweep: Sequence[Sequence[str]], results: Sequence[Result], console: Console) -> None:
    """One line per run: what distinguishes it, its numbers, its findings, its folder."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("run", "numbers", "findings", "status", "folder"):
        table.add_column(column, overflow="fold", no_wrap=column in ("run", "status", "folder"))
    for own, result in zip(distinguishing(sweep), results, strict=False):
        if result.report is None:
            table.add_row(" ".join(own), "", result.error.splitlines()[0] if result.error else "", str(result.status), "")
            continue
        numbers = ", ".join(f"{h.name} {h.value:.4f}" for h in result.report.headlines[:2] if h.value is not None)
        found = " ".join(f.code for f in result.report.diagnosis.findings) or "none"
        table.add_row(" ".join(own), numbers, found, str(result.status), result.folder.name if result.folder else "")
    console.print()
    console.print(table)


def distinguishing(sweep: Sequence[Sequence[str]]) -> list[list[str]]:
    """The words of each run that not all runs have."""
    common = set.intersection(*map(set, sweep)) if len(sweep) > 1 else set()
    return [[word for word in own if word not in common] for own in sweep]


def write_page(sweep: Sequence[Sequence[str]], results: Sequence[Result], command: str) -> Path | None:
    """One page for all runs, beside their folders; nothing where fewer than two left one.

    Runs are ranked by the best epoch on the validation part: choosing by the test part would spoil it. Runs that differ by their seed
    only are one setting, with the mean and the interval over its seeds.
    """
    from diagnose.report import write_report
    from diagnose.report.search import search_report

    places = [result.folder for result in results if result.folder]
    if len(places) < 2:
        return None
    search = summary(sweep, results, command)
    folder = places[0].with_name(f"{places[0].name}-sweep")
    folder.mkdir(parents=True, exist_ok=True)
    search.write(folder / "search.json")
    return write_report(search_report(search, created=datetime.now().isoformat(timespec="seconds")), folder)["html"].absolute()


def summary(sweep: Sequence[Sequence[str]], results: Sequence[Result], command: str) -> Search:
    """The runs of a sweep as the trials of a search."""
    trials = [
        trial(number, dict(map(pair, own)), result)
        for number, (own, result) in enumerate(zip(distinguishing(sweep), results, strict=False))
    ]
    keys = list(dict.fromkeys(key for t in trials for key in t.values))
    options = {key: distinct(t.values[key] for t in trials if key in t.values) for key in keys}
    space = tuple({"key": key, "scale": "choice", "options": options[key]} for key in keys)
    sure = over_seeds(trials)
    made = Search(
        name="sweep",
        metric=METRIC,
        mode="min",
        sampler="sweep",
        space=space,
        budget=len(sweep),
        trials=tuple(trials),
        confirmed=sure,
        seconds=sum(t.seconds for t in trials),
    )
    best = sure[0].number if sure else made.ranked[0].number if made.ranked else None
    words = [] if best is None else [w for w in sweep[best] if not sure or pair(w)[0] != SEED]
    return Search(**{**{f: getattr(made, f) for f in made.__slots__}, "command": " ".join([f"python -m diagnose {command}", *words])})


def trial(number: int, values: Mapping[str, Any], result: Result) -> Tried:
    """One run, with the curve that its record holds."""
    rest = {key: value for key, value in values.items() if key != SEED}
    seed = int(values.get(SEED, 0))
    if result.folder is None:
        reason = (result.error.splitlines() or ["it could not be made"])[0]
        return Tried(number=number, state="failed", values=rest, seed=seed, reason=reason)
    record = Record.read(result.folder / "record")
    curve = [float(v) for v in record.series(METRIC).value.ravel()] if METRIC in set(record.names()) else []
    known = [(v, i) for i, v in enumerate(curve) if math.isfinite(v)]
    seconds = sum(float(s["seconds"]) for s in record.facts.get("stages") or () if s["name"] == "fit")
    shown = tuple(v if math.isfinite(v) else None for v in curve)
    if not known:
        reason = f"{METRIC} was never measured"
        return Tried(number=number, state="failed", values=rest, seed=seed, reason=reason, curve=shown, seconds=seconds)
    score, epoch = min(known)
    return Tried(number=number, state="complete", values=rest, seed=seed, score=score, curve=shown, best_epoch=epoch, seconds=seconds)


def over_seeds(trials: Sequence[Tried]) -> tuple[Confirmed, ...]:
    """Settings that were run with several seeds, best mean first."""
    groups: dict[str, list[Tried]] = {}
    for t in trials:
        groups.setdefault(repr(sorted(t.values.items())), []).append(t)
    found = []
    for members in groups.values():
        scores = tuple(t.score for t in members if t.score is not None)
        if len(members) > 1 and scores:
            mean, low, high = interval(scores)
            found.append(Confirmed(number=members[0].number, values=members[0].values, scores=scores, mean=mean, low=low, high=high))
    return tuple(sorted(found, key=lambda c: c.mean))


def pair(word: str) -> tuple[str, Any]:
    """Key and value of a word such as ``optimizer.lr=0.01``."""
    key, _, text = word.lstrip("+~").partition("=")
    value: Any = OmegaConf.to_container(OmegaConf.create(f"value: {text}"))
    return key, value["value"]


def distinct(values: Iterable[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())
