"""Several trials at a time: processes on this machine, or tasks on a Ray cluster. One that dies costs the trial that it ran, no more."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from diagnose.cli.arguments import UsageError
from diagnose.cli.searching import Plan
from diagnose.search.study import lost, requeue

LOOK = 0.2  # seconds between two looks at the study
MOST_DEATHS = 5  # processes without a finished trial between them after which the search gives up


class Crew(Protocol):
    """Those who do the work; numbered from 1."""

    def start(self, number: int) -> None: ...

    def running(self) -> set[int]:
        """Numbers of those that still work."""

    def death(self, number: int) -> str:
        """How one that no longer works ended; empty where it had done all its work."""

    def stop(self) -> None: ...


class Processes:
    """Processes on this machine; what they print goes to ``workers/NUMBER.log`` in the search's folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.known: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        logs = self.folder / "workers"
        logs.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "diagnose.cli.searching", str(self.folder.absolute()), str(number), self.kind]
        with (logs / f"{number}.log").open("ab") as log:
            self.known[number] = subprocess.Popen(command, stdout=log, stderr=log, env={"OMP_NUM_THREADS": "1", **os.environ})

    def running(self) -> set[int]:
        return {number for number, process in self.known.items() if process.poll() is None}

    def death(self, number: int) -> str:
        code = self.known[number].returncode
        return "" if code == 0 else f"ended by signal {-code}" if code < 0 else f"ended with exit status {code}"

    def stop(self) -> None:
        for process in self.known.values():
            process.terminate()
        for process in self.known.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class RayTasks:
    """Tasks of a Ray cluster, each with one CPU. The search's folder, or its storage, must be reachable from every machine of the cluster.

    Raises:
        UsageError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, folder: Path, kind: str, address: str | None) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise UsageError("tune.backend=ray needs the package ray\npip install lightning-diagnose[ray]") from error
        self.ray, self.folder, self.kind = ray, folder.absolute(), kind
        self.known: dict[int, Any] = {}
        self.deaths: dict[int, str] = {}
        if not ray.is_initialized():
            variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
            try:
                ray.init(
                    address=address,
                    num_cpus=None if address else max(os.cpu_count() or 1, 2),
                    runtime_env={"env_vars": variables},
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UsageError(f"tune.address={address!r}: the Ray cluster cannot be reached: {str(error).splitlines()[0]}") from error

    def start(self, number: int) -> None:
        task = self.ray.remote(num_cpus=1, max_retries=0)(_task)
        self.known[number] = task.remote(str(self.folder), os.getcwd(), number, self.kind)

    def running(self) -> set[int]:
        done, _ = self.ray.wait(list(self.known.values()), num_returns=len(self.known), timeout=0) if self.known else ([], [])
        for number, reference in self.known.items():
            if reference in done and number not in self.deaths:
                try:
                    self.ray.get(reference)
                    self.deaths[number] = ""
                except Exception as error:
                    self.deaths[number] = f"ended by {type(error).__name__}"
        return {number for number in self.known if number not in self.deaths}

    def death(self, number: int) -> str:
        return self.deaths[number]

    def stop(self) -> None:
        for number in self.running():
            self.ray.cancel(self.known[number], force=True)


def _task(folder: str, place: str, number: int, kind: str) -> None:
    """What a Ray task does; paths of the config count from where the search was started."""
    from diagnose.cli.searching import Plan, work

    if os.path.isdir(place):
        os.chdir(place)
    work(Plan.read(Path(folder)), Path(folder), confirm=kind == "confirm", process=number)


def together(plan: Plan, folder: Path, *, confirm: bool, told: Callable[[int], None]) -> None:
    """Run the trials of a search in parallel until the budget is spent.

    Args:
        plan: The search.
        folder: Its folder.
        confirm: Train the best with other seeds.
        told: Called with the number of each trial that ended.

    Raises:
        UsageError: The workers cannot be started, or die again and again.
    """
    kind = "confirm" if confirm else "search"
    ray = plan.tune["backend"] == "ray"
    crew: Crew = RayTasks(folder, kind, plan.tune["address"]) if ray else Processes(folder, kind)
    study = plan.study(folder, confirm=confirm)
    seen = {t.number for t in study.get_trials(deepcopy=False) if t.state.is_finished()}
    deaths, newest = 0, int(plan.tune["parallel"])
    at_work = set(range(1, newest + 1))
    try:
        for number in at_work:
            crew.start(number)
        while at_work:
            time.sleep(LOOK)
            ended = at_work - crew.running()
            finished = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and t.number not in seen]
            for trial in finished:
                seen.add(trial.number)
                deaths = 0
                told(trial.number)
            at_work -= ended
            for number in ended:
                if not (death := crew.death(number)):
                    continue
                deaths += 1
                if deaths > MOST_DEATHS:
                    raise UsageError(f"{deaths} processes of the search {death}, none finished a trial\nlook into {folder / 'workers'}")
                newest += 1
                at_work.add(newest)
                crew.start(newest)
            if ended or ray:
                seen |= set(requeue(study, lost(study)))
    finally:
        crew.stop()
