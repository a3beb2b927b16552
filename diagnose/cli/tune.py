"""``tune``: search over keys of the config, show why each trial ended, train the best again with other seeds, report."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli import runs
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.job import INTERRUPTED, shown
from diagnose.cli.usage import GROUPS

if TYPE_CHECKING:
    from optuna.study import Study

    from diagnose.cli.searching import Plan
    from diagnose.search.space import Dimension
    from diagnose.search.values import Search, Tried

FILE = "search.json"
AGAIN = ("trials", "parallel", "backend", "address")  # what a search that goes on may change
HOPELESS = 4  # failures, and nothing else, after which a search ends


@dataclass(kw_only=True)
class Live:
    """What is said while the search runs: a line per trial, with why it ended."""

    console: Console
    study: Study
    space: tuple[Dimension, ...]
    metric: str
    mode: str
    best: float | None = None
    failures: list[str] = field(default_factory=list)

    def __call__(self, number: int) -> None:
        from diagnose.search.summary import tried

        trial = next((t for t in tried(self.study, self.space) if t.number == number), None)
        if trial is None:
            return
        better = trial.score is not None and (
            self.best is None or (trial.score < self.best if self.mode == "min" else trial.score > self.best)
        )
        self.best = trial.score if better else self.best
        said = ", ".join(f"{key.rpartition('.')[2]} {short(value)}" for key, value in trial.values.items())
        score = f"{trial.score:.4g}" if trial.score is not None else trial.state
        why = f"  {trial.reason}" if trial.reason else "  best so far" if better else ""
        text = f"{number:5}  {score:>9}  {len(trial.curve):3} epochs {trial.seconds:6.1f} s  {said}{why}"
        self.console.print(text, style="bold" if better else "dim" if trial.reason else "", markup=False, soft_wrap=True)
        if trial.state == "failed":
            self.failures.append(trial.reason)
            if len(self.failures) >= HOPELESS and self.best is None:
                raise UsageError(f"the first {len(self.failures)} trials failed, the last with: {trial.reason}")


def short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def run(arguments: Arguments) -> int:
    """Run the command.

    Raises:
        UsageError: The space or an option of ``tune`` cannot work; nothing was started.
    """
    console = Console(stderr=arguments.json, highlight=False)
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError("tune needs the package optuna\npip install lightning-diagnose[tune]") from error
    if arguments.multirun:
        raise UsageError("tune runs many trainings by itself; leave --multirun out")
    resumed = next((w.partition("=")[2] for w in arguments.words if w.lstrip("+").partition("=")[0] == "tune.resume"), "")
    if resumed and resumed != "null":
        return go_on(arguments, Path(resumed), console)
    from diagnose.cli.tune_plan import compose, planned

    composed, words = compose(arguments)
    if arguments.cfg:
        print(shown(arguments, composed))
        return 0
    plan = planned(arguments, composed, words, console)
    with runs.folder(composed) as folder:
        plan.write(folder)
        return search(plan, folder.absolute(), console, as_json=arguments.json)


def go_on(arguments: Arguments, given: Path, console: Console) -> int:
    """Go on with a search that was broken off, perhaps for more trials or with more processes."""
    from diagnose.cli.searching import Plan
    from diagnose.cli.tune_plan import check_options

    folder = runs.followed(given).absolute().resolve()
    plan = Plan.read(folder)
    changed = {}
    for word in arguments.words:
        key, _, value = word.lstrip("+").partition("=")
        name = key.removeprefix("tune.")
        if name == "resume":
            continue
        if name not in AGAIN or not key.startswith("tune."):
            raise UsageError(f"with tune.resume only {', '.join(f'tune.{n}' for n in AGAIN)} may be given, got {word!r}")
        loaded: Any = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))
        changed[name] = loaded["value"]
    plan = replace(plan, tune={**plan.tune, **changed})
    check_options(plan.tune)
    plan.write(folder)
    return search(plan, folder, console, as_json=arguments.json)


def search(plan: Plan, folder: Path, console: Console, *, as_json: bool) -> int:
    """Run a search from where it stands to its report."""
    from diagnose.search.study import lost, requeue

    study, tune = plan.study(folder), plan.tune
    begun = len(study.get_trials(deepcopy=False))
    scale = ", ".join(f"{d.key} {d.scale}" for d in plan.space)
    console.print(f"folder     {folder}\nsearch     {tune['sampler']}, {tune['trials']} trials over {scale}", soft_wrap=True, markup=False)
    console.print(f"optimises  {tune['metric']} ({tune['mode']}), seed {plan.seed}", soft_wrap=True, markup=False)
    again = requeue(study, lost(study))
    if begun:
        console.print(f"goes on    {begun} trials are known{f', {len(again)} of them lost and lined up again' if again else ''}")
    start = time.perf_counter()
    try:
        live = Live(console=console, study=study, space=plan.space, metric=tune["metric"], mode=tune["mode"])
        carry_out(plan, folder, confirm=False, told=live)
        spent = time.perf_counter() - start
        confirm(plan, folder, study, console)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into exit(1)
        result = summarise(plan, folder, study, time.perf_counter() - start)
        result.write(folder / FILE)
        console.print(f"interrupted; go on by: python -m diagnose tune tune.resume={folder}", style="yellow", markup=False, soft_wrap=True)
        return INTERRUPTED
    result = summarise(plan, folder, study, spent)
    result.write(folder / FILE)
    return tell(result, folder, console, as_json=as_json)


def carry_out(plan: Plan, folder: Path, *, confirm: bool, told: Callable[[int], None]) -> None:
    """Run trials in this process, or in several."""
    if plan.tune["parallel"] == 1 and plan.tune["backend"] == "process":
        from diagnose.cli.searching import work

        work(plan, folder, confirm=confirm, told=told)
    else:
        from diagnose.cli.workers import together

        together(plan, folder, confirm=confirm, told=told)


def confirm(plan: Plan, folder: Path, study: Study, console: Console) -> None:
    """Train the best settings again with seeds that the search did not use: the best of many is better by luck too."""
    from diagnose.search.study import lost, requeue

    best = chosen(plan, study)
    seeds = [plan.seed + 1 + i for i in range(plan.tune["confirm"]["seeds"])]
    if not best:
        return
    second = plan.study(folder, confirm=True)
    requeue(second, lost(second))
    known = {(json.dumps(t.user_attrs.get("fixed")), t.user_attrs.get("seed")) for t in second.get_trials(deepcopy=False)}
    stored = {t.number: t.params for t in study.get_trials(deepcopy=False)}
    for trial in best:
        for seed in seeds:
            if (json.dumps(trial.number), seed) not in known:
                second.enqueue_trial(stored[trial.number], user_attrs={"fixed": trial.number, "seed": seed})
    console.print(f"the best {len(best)} again with {len(seeds)} other seeds", style="dim")
    carry_out(plan, folder, confirm=True, told=lambda number: None)


def chosen(plan: Plan, study: Study) -> list[Tried]:
    """The best settings that are different."""
    from diagnose.search.summary import ranked, same

    kept: list[Tried] = []
    for trial in ranked(study, plan.space, plan.tune["mode"]):
        if len(kept) < plan.tune["confirm"]["best"] and not any(same(trial.values, other.values) for other in kept):
            kept.append(trial)
    return kept


def summarise(plan: Plan, folder: Path, study: Study, seconds: float) -> Search:
    """The values that the report is made of."""
    from diagnose.search.summary import confirmed, importance, ranked, tried
    from diagnose.search.values import Search

    tune, dimensions = plan.tune, plan.space
    before = 0.0
    with suppress(OSError, ValueError):
        before = Search.read(folder / FILE).seconds
    again: tuple[Tried, ...] = ()
    with suppress(UsageError):
        again = tried(plan.study(folder, confirm=True), dimensions)
    sure = confirmed(chosen(plan, study), again, tune["mode"])
    first = ranked(study, dimensions, tune["mode"])[:1]
    best = sure[0].values if sure else first[0].values if first else None
    words = [*plan.words, *(f"{k}={v if k in GROUPS else spelled(v)}" for k, v in (best or {}).items())]
    command = " ".join(["python -m diagnose train", *map(shlex.quote, words)]) if best else ""
    return Search(
        name=tune["name"],
        metric=tune["metric"],
        mode=tune["mode"],
        sampler=tune["sampler"],
        space=tuple(d.to_dict() for d in dimensions),
        budget=int(tune["trials"]),
        trials=tried(study, dimensions),
        confirmed=sure,
        importance=importance(study, dimensions),
        command=command,
        seconds=round(before + seconds, 3),
        processes=int(tune["parallel"]),
    )


def spelled(value: object) -> str:
    """A value as a word of the command line holds it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def tell(result: Search, folder: Path, console: Console, *, as_json: bool) -> int:
    """Write the report, print the summary."""
    from diagnose.report import write_report
    from diagnose.report.search import search_report

    report = search_report(result, created=datetime.now().isoformat(timespec="seconds"))
    paths = write_report(report, folder)
    console.print(f"\n{report.verdict}", markup=False, soft_wrap=True)
    for best in result.confirmed:
        bounds = f" [{best.low:.4g}, {best.high:.4g}]" if best.low is not None and best.high is not None else ""
        said = ", ".join(f"{k} {short(v)}" for k, v in best.values.items())
        text = f"trial {best.number:3}  {best.mean:.4g}{bounds} over {len(best.scores)} seeds  {said}"
        console.print(text, markup=False, soft_wrap=True)
    if result.overhead is not None:
        own = sum(t.seconds for t in result.trials)
        text = f"seconds    {result.seconds:.1f}, {own:.1f} in trials; the search itself took {result.overhead:.1%} of these"
        console.print(text, style="dim", markup=False, soft_wrap=True)
    if result.command:
        console.print(f"train it   {result.command}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"folder": str(folder), **asdict(result)}, indent=1, allow_nan=False))
    console.print(str(paths["html"].absolute()), markup=False, soft_wrap=True)
    return 0 if result.ranked else 1
