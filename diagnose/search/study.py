"""The study behind a search: one storage that several processes and machines share, and that outlives them."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.trial import TrialState

from diagnose.search.samplers import AGAIN, Planned, sampler
from diagnose.search.space import Dimension

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

SILENT = 900.0  # seconds without a sign of life after which a trial on another machine counts as lost
NAMELESS = 60.0  # seconds after which a trial counts as lost whose process has not said its name: that takes it milliseconds
WARM_TRIALS, WARM_EPOCHS = 5, 3  # the median needs finished trials, and a trial some epochs, before one is cut short
SURPLUS = "surplus"  # attribute of a trial that two processes took at once for the last

optuna.logging.set_verbosity(optuna.logging.ERROR)


def me() -> str:
    """The name of this process among those that work on a study."""
    return f"{socket.gethostname()}:{os.getpid()}"


def storage(url: str, folder: Path) -> BaseStorage:
    """The storage of a study: a journal in the folder, or a database.

    Args:
        url: ``sqlite:///FILE``, ``postgresql://...``, ``mysql://...``; empty for the journal.
        folder: Where the journal stands.

    Raises:
        ValueError: The storage cannot be reached.
    """
    if not url:
        from optuna.storages.journal import JournalFileBackend

        return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None)
    except Exception as error:  # SQLAlchemy's, the driver's, a missing driver
        said = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"tune.storage {without_secret(url)!r} cannot be reached: {type(error).__name__}: {said}\n"
            "expected sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME or null for a journal in the search's folder"
        ) from error


def without_secret(url: str) -> str:
    """The URL with its password taken out."""
    head, separator, tail = url.rpartition("@")
    if not separator:
        return url
    scheme, _, login = head.partition("://")
    return f"{scheme}://{login.partition(':')[0]}:***@{tail}"


def open_study(
    store: BaseStorage,
    name: str,
    space: Sequence[Dimension],
    settings: Mapping[str, Any],
    *,
    seed: int,
    process: int = 0,
    prune: bool = True,
) -> Study:
    """Join the study of this name, or begin it.

    Args:
        store: From `storage`.
        name: Its name in the storage.
        space: What it samples.
        settings: ``mode``, ``sampler``, ``trials``, ``points`` and ``rounds``.
        seed: Seed of the sampler.
        process: Number of this process among those that share the study.
        prune: Whether trials below the median are cut short.

    Raises:
        ValueError: The storage holds a study of this name with another space.
    """
    pruner: BasePruner = optuna.pruners.NopPruner()
    if prune:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_TRIALS, n_warmup_steps=WARM_EPOCHS)
    kinds = {k: settings[k] for k in ("trials", "points", "rounds")}
    direction: Literal["minimize", "maximize"] = "minimize" if settings["mode"] == "min" else "maximize"
    with quiet():
        made = optuna.create_study(
            storage=store,
            study_name=name,
            direction=direction,
            pruner=pruner,
            load_if_exists=True,
        )
        drawn = process + 1000 * len(made.get_trials(deepcopy=False))  # a search that goes on does not draw again what it drew before
        made.sampler = sampler(settings["sampler"], space, seed=seed, process=drawn, **kinds)
    wanted = json.dumps([*(d.to_dict() for d in space), settings["mode"]], sort_keys=True)
    known = made.user_attrs.get("space")
    if known is None:
        made.set_user_attr("space", wanted)
    elif known != wanted:
        raise ValueError(
            f"the storage holds a study {name!r} of another space or metric\ngive this one a name of its own by tune.name=NAME,"
            " or start it with the space of the other"
        )
    return made


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's warnings that an option is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def ask(study: Study, space: Sequence[Dimension], budget: int) -> Trial | None:
    """The next trial, or nothing when ``budget`` trials have been begun; a trial that repeats a lost one does not count."""
    trials = study.get_trials(deepcopy=False)
    waiting = any(t.state == TrialState.WAITING for t in trials)
    if not waiting and sum(AGAIN not in t.user_attrs and SURPLUS not in t.user_attrs for t in trials) >= budget:
        return None
    with quiet():
        trial = study.ask({d.name: d.distribution for d in space})
    if AGAIN not in trial.user_attrs and "fixed" not in trial.user_attrs and Planned.place(study, trial.number) >= budget:
        trial.set_user_attr(SURPLUS, True)
        study.tell(trial, state=TrialState.FAIL)
        return None
    trial.set_user_attr("process", me())
    sign_of_life(trial)
    return trial


def sign_of_life(trial: Trial) -> None:
    """Say that the process of a trial still lives."""
    trial.set_user_attr("alive", round(time.time(), 3))


def values(trial: Trial | FrozenTrial, space: Iterable[Dimension]) -> dict[str, Any]:
    """The values of a trial by key of the config."""
    return {d.key: d.value(trial.params[d.name]) for d in space if d.name in trial.params}


def lost(study: Study) -> list[FrozenTrial]:
    """The trials that no living process works on; of another machine, those without a sign of life for `SILENT` seconds."""
    host, found = socket.gethostname(), []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = str(trial.user_attrs.get("process", ""))
        place, _, number = process.rpartition(":")
        here = place == host and number.isdigit()
        begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        silent = time.time() - float(trial.user_attrs.get("alive", begun)) > (SILENT if process else NAMELESS)
        if (here and not alive(int(number))) or (not here and silent):
            found.append(trial)
    return found


def alive(process: int) -> bool:
    """Whether a process of this machine lives; one that has ended but not been waited for does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = Path(f"/proc/{process}/stat")
    return not state.is_file() or state.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"


def requeue(study: Study, trials: Iterable[FrozenTrial]) -> list[int]:
    """Give up trials whose process ended and line up their values again; their numbers."""
    numbers = []
    for trial in trials:
        kept = {k: v for k, v in trial.user_attrs.items() if k in ("seed", "fixed")}
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number, **kept})
        numbers.append(trial.number)
    return numbers
