"""The work of one process on a search: take a trial, train, tell; until none is left."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.search.space import Dimension, space
from diagnose.search.study import ask, open_study, sign_of_life, storage, values

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

PLAN = "plan.json"
CONFIRM = "-confirm"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every process of a search is told; written into the search's folder.

    Attributes:
        words: The words of the command line without those of ``tune``.
        config_dir: As on the command line.
        config_path: As on the command line.
        config_name: As on the command line.
        tune: The group ``tune`` of the config, with the space that is searched.
        seed: The seed of the search and of its trials.
    """

    words: tuple[str, ...]
    config_dir: str
    config_path: str
    config_name: str
    tune: dict[str, Any]
    seed: int

    @property
    def arguments(self) -> Arguments:
        words = list(self.words)
        return Arguments(
            command="tune", words=words, config_dir=self.config_dir, config_path=self.config_path, config_name=self.config_name
        )

    @property
    def space(self) -> tuple[Dimension, ...]:
        return space(self.tune["space"])

    def write(self, folder: Path) -> None:
        partial = folder / f".{PLAN}.partial"
        partial.write_text(dumps(asdict(self), indent=1), encoding="utf-8")
        partial.replace(folder / PLAN)

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read the plan of a search.

        Raises:
            UsageError: The folder holds none.
        """
        try:
            raw = loads((folder / PLAN).read_text(encoding="utf-8"))
            return cls(**{**raw, "words": tuple(raw["words"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"there is no search to go on with in {str(folder)!r}: expected a readable {PLAN} in it") from error

    def study(self, folder: Path, *, confirm: bool = False, process: int = 0) -> Study:
        """The study of the search, or of the training of its best with other seeds.

        Raises:
            UsageError: The storage cannot be reached, or holds another search of this name.
        """
        name = self.tune["name"] + (CONFIRM if confirm else "")
        try:
            store = storage(self.tune["storage"] or "", folder)
            prune = bool(self.tune["prune"]) and not confirm
            return open_study(store, name, self.space, self.tune, seed=self.seed, process=process, prune=prune)
        except ValueError as error:
            raise UsageError(str(error)) from error


def work(plan: Plan, folder: Path, *, confirm: bool = False, process: int = 0, told: Callable[[int], None] = lambda number: None) -> None:
    """Run trials until the budget is spent.

    Args:
        plan: The search.
        folder: Its folder.
        confirm: Work on the training of the best with other seeds.
        process: Number of this process.
        told: Called with the number of each trial that ended.
    """
    parent = os.getppid()  # first of all: the search may be killed while torch is imported
    import diagnose.cli.trial  # noqa: F401  # the seconds of importing torch are no trial's

    study, dimensions = plan.study(folder, confirm=confirm, process=process), plan.space
    budget = 0 if confirm else int(plan.tune["trials"])
    mark = time.perf_counter()
    while (trial := ask(study, dimensions, budget)) is not None:
        mark = once(plan, study, trial, dimensions, folder, mark, orphaned=lambda: process > 0 and os.getppid() != parent)
        told(trial.number)


def once(
    plan: Plan, study: Study, trial: Trial, dimensions: Sequence[Dimension], folder: Path, mark: float, orphaned: Callable[[], bool]
) -> float:
    """Run one trial and tell the study what came of it; Ctrl-C leaves it to be lined up again.

    Args:
        plan: The search.
        study: Its study.
        trial: The trial.
        dimensions: The space.
        folder: The search's folder.
        mark: When this process ended its last trial; what it did since beside training is the search's overhead.
        orphaned: Whether the search that started this process is gone.

    Returns:
        The next ``mark``.
    """
    from diagnose.cli.trial import Outcome, run, settings_of

    seed = int(trial.user_attrs.get("seed", plan.seed))
    fixed = "fixed" in trial.user_attrs

    def hopeless(value: float, epoch: int) -> str:
        if orphaned():
            raise KeyboardInterrupt
        trial.report(value, epoch)
        sign_of_life(trial)
        worse = not fixed and trial.should_prune()
        return f"{plan.tune['metric']} worse than the median of the other trials in epoch {epoch}" if worse else ""

    trial.set_user_attr("seed", seed)
    outcome, failure = Outcome(), ""
    try:
        settings = settings_of(plan.arguments, values(trial, dimensions), seed)
        stop = bool(plan.tune["stop_on_findings"]) and not fixed
        outcome = run(settings, folder, plan.tune["metric"], hopeless, stop_on_findings=stop)
    except UsageError as error:
        failure = str(error).splitlines()[0]
    except Exception as error:
        failure = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        with (folder / "failures.txt").open("a", encoding="utf-8") as file:
            file.write(f"trial {trial.number}\n{traceback.format_exc()}\n")
    now = time.perf_counter()
    trial.set_user_attr("seconds", round(outcome.seconds, 4))
    trial.set_user_attr("aside", round(now - mark - outcome.seconds, 4))
    best = outcome.best(plan.tune["mode"])
    reason = failure or outcome.reason or ("" if best else f"{plan.tune['metric']} was never measured")
    if reason:
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=TrialState.FAIL if failure or (best is None and not outcome.reason) else TrialState.PRUNED)
        return now
    assert best is not None
    trial.set_user_attr("best_epoch", best[1])
    study.tell(trial, best[0])
    return now


def main() -> int:
    """``python -m diagnose.cli.searching FOLDER NUMBER search|confirm``: a process of a search that `diagnose.cli.workers` started."""
    folder, number, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work(Plan.read(folder), folder, confirm=kind == "confirm", process=number)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
