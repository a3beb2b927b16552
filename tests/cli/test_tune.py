from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from diagnose.cli.arguments import Arguments
from diagnose.cli.searching import Plan
from diagnose.cli.trial import Outcome, run, settings_of
from diagnose.record import Record
from diagnose.search.study import alive, values
from diagnose.search.values import Search

Cli = Callable[..., int]
TINY = ("data=iris", "model.hidden=[8]", "trainer.max_epochs=2", "trainer.accelerator=cpu", "tune.confirm.best=1", "tune.confirm.seeds=2")
LONG = 600  # seconds that no machine needs: what takes so long hangs
OWN = ("tune=own", "tune.space.optimizer.lr=log(1e-3, 1e-1)")


def found(root: Path) -> Search:
    return Search.read(root / "outputs" / "tune" / "latest" / "search.json")


def test_a_search_ends_with_a_report_and_a_command_that_trains_the_best(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("tune", *TINY, "tune.trials=3", "tune.sampler=random", "tune.space.data.batch_size=log_integer(8, 32)") == 0
    said = capsys.readouterr().out
    search = found(tmp_path)
    assert Counter(t.state for t in search.trials) == {"complete": 3}
    assert "model.hidden is set on the command line and not searched over" in said
    assert "optimizer.momentum is not in this config and not searched over" in said
    assert {d["key"] for d in search.space} == {"optimizer.lr", "optimizer.weight_decay", "data.batch_size", "model.dropout"}
    assert len(search.confirmed) == 1
    assert len(search.confirmed[0].scores) == 2
    assert search.ranked[0].score == min(v for t in search.trials for v in t.curve if v is not None)
    page = Path(said.splitlines()[-1])
    assert page == (tmp_path / "outputs" / "tune" / "latest" / "report.html").resolve()
    assert "Parallel coordinates" in page.read_text(encoding="utf-8")
    assert cli(*shlex.split(search.command)[3:], "trainer.max_epochs=1") in (0, 1)  # findings are another matter after one epoch
    assert (tmp_path / "outputs" / "train" / "latest" / "report.html").is_file()


def test_a_trial_is_the_run_that_train_makes(cli: Cli, tmp_path: Path) -> None:
    cli("train", *TINY[:4], "optimizer.lr=0.02", "trainer.deterministic=true")
    losses = Record.read(tmp_path / "outputs" / "train" / "latest" / "record").series("val/loss").value
    settings = settings_of(Arguments(command="tune", words=list(TINY[:4])), {"optimizer.lr": 0.02})
    outcome = run(settings, tmp_path, "val/loss", lambda value, epoch: "", stop_on_findings=True)
    assert outcome.curve == pytest.approx(losses.tolist(), rel=1e-6)


def test_a_diverging_trial_ends_at_once_with_the_finding_as_reason(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "optimizer=sgd",
        "optimizer.momentum=0",
        "optimizer.nesterov=false",
        "scheduler=none",
        "trainer.max_epochs=30",
        "trainer.gradient_clip_val=null",
        "model.norm=none",
    )
    cli("tune", *TINY, *words, "tune=own", "tune.space.optimizer.lr=[0.05,1e12]", "tune.sampler=grid", "tune.confirm.best=0")
    by_rate = {t.values["optimizer.lr"]: t for t in found(tmp_path).trials}
    assert by_rate[0.05].state == "complete"
    hopeless = by_rate[1e12]
    assert hopeless.state == "pruned"
    assert hopeless.reason.startswith("error T") or "was nan" in hopeless.reason
    assert len(hopeless.curve) < 30
    assert hopeless.reason[:20] in capsys.readouterr().out


def test_hopeless_trials_are_cut_short_by_the_median(cli: Cli, tmp_path: Path) -> None:
    words = ("optimizer=nesterov", "scheduler=none", "trainer.max_epochs=6", "tune.trials=12", "tune.sampler=random", "tune.confirm.best=0")
    cli("tune", *TINY, *words, "tune=own", "tune.space.optimizer.lr=log(1e-7, 1e-1)")
    cut = [t for t in found(tmp_path).trials if t.state == "pruned"]
    assert cut
    assert all("worse than the median of the other trials in epoch" in t.reason and len(t.curve) < 6 for t in cut)


def test_groups_can_be_searched_over(cli: Cli, tmp_path: Path) -> None:
    assert cli("tune", *TINY, "tune=own", "tune.space.optimizer=[adam,sgd]", "tune.sampler=grid", "tune.confirm.best=0") == 0
    search = found(tmp_path)
    assert {t.values["optimizer"] for t in search.trials} == {"adam", "sgd"}
    assert f"optimizer={search.ranked[0].values['optimizer']}" in search.command


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["tune.space.optimizer.rate=log(1e-4,1)"], "tune.space: the config has no key 'optimizer.rate'"),
        (["tune.space.optimizer.lr=log(1,0.1)"], "tune.space.optimizer.lr: the lowest value must stand first"),
        (["tune.space.optimizer.lr=log(0,1)"], "a log scale needs a lowest value above 0"),
        (["tune.space.optimizer.betas=one_minus(0.9, 1.0)"], "a one_minus scale needs values below 1"),
        (["tune.space.data.batch_size=linear(8, 64.5)"], "tune.space: data.batch_size must be a whole number"),
        (["tune.space.model=[mlp,nlp]"], "tune.space: model has no option 'nlp'"),
        ([], "tune.space is empty"),
        (["tune.space.optimizer.lr=log(1e-4,1)", "optimizer.lr=0.1"], "optimizer.lr is both set and searched over"),
        (
            ["tune.space.optimizer.lr=log(1e-4,1)", "tune.sampler=bayes"],
            "tune.sampler must be one of random, grid, tpe, coarse_to_fine, got 'bayes'",
        ),
        (["tune.space.optimizer.lr=log(1e-4,1)", "tune.trials=0"], "tune.trials must be a whole number of at least 1, got 0"),
        (["tune.space.optimizer.lr=log(1e-4,1)", "tune.confirm.seeds=0"], "tune.confirm.seeds must be a whole number of at least 1"),
        (["tune.space.optimizer.lr=log(1e-4,1)", "tune.storage=sqlite:////nowhere/x.db"], "cannot be reached"),
        (["tune.resume=nowhere"], "there is no search to go on with in"),
        (["tune.space.optimizer.lr=log(1e-4,1)", "--multirun"], "leave --multirun out"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [] if any("resume" in w for w in words) else ["data=iris", "tune=own"]
    assert cli("tune", *own, *words) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.glob("outputs/tune/*/*"))


def test_a_metric_that_nobody_logs_ends_the_search(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("tune", *TINY, *OWN, "tune.metric=val/auc", "tune.trials=9") == 2
    said = capsys.readouterr().err
    assert "the first 4 trials failed, the last with: tune.metric 'val/auc' is not logged; logged are" in said
    assert "val/loss" in said


def test_a_search_goes_on_for_more_trials(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli("tune", *TINY, *OWN, "tune.trials=2", "tune.confirm.best=0")
    first = found(tmp_path)
    folder = (tmp_path / "outputs" / "tune" / "latest").resolve()
    assert cli("tune", f"tune.resume={folder}", "tune.trials=4") == 0
    assert "goes on    2 trials are known" in capsys.readouterr().out
    assert found(tmp_path).trials[:2] == first.trials
    assert len(found(tmp_path).trials) == 4
    assert cli("tune", f"tune.resume={folder}", "seed=3") == 2
    assert (
        "with tune.resume only tune.trials, tune.parallel, tune.backend, tune.address may be given, got 'seed=3'" in capsys.readouterr().err
    )


def test_the_page_of_a_search_is_made_again(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli("tune", *TINY, *OWN, "tune.trials=2", "tune.confirm.best=0")
    folder = (tmp_path / "outputs" / "tune" / "latest").resolve()
    (folder / "report.html").unlink()
    assert cli("report", str(folder)) == 0
    assert (folder / "report.html").is_file()
    assert cli("report", str(folder), "fail_on=info") == 2
    assert "the page of a search is made by itself, without" in capsys.readouterr().err
    (folder / "search.json").write_text("{}")
    assert cli("report", str(folder)) == 2
    assert "holds no search" in capsys.readouterr().err


def test_the_best_epoch_counts() -> None:
    assert Outcome(curve=[3.0, 1.0, float("nan"), 2.0]).best("min") == (1.0, 1)
    assert Outcome(curve=[3.0, 1.0, 3.0]).best("max") == (3.0, 0)
    assert Outcome(curve=[float("nan")]).best("min") is None


RAY = {  # it shall neither give up on a busy machine nor end processes where memory is short
    "RAY_gcs_server_port_wait_time_s": str(LONG),
    "RAY_worker_register_timeout_seconds": str(LONG),
    "RAY_memory_monitor_refresh_ms": "0",
}
MEET = """
import os, time
from pathlib import Path
from lightning.pytorch import Callback

class Meet(Callback):
    def on_train_start(self, trainer, module):
        Path("here", str(os.getpid())).touch()
        end = time.monotonic() + 600
        while len(os.listdir("here")) < 2 or Path("hold").exists():
            assert time.monotonic() < end, "left to wait"
            time.sleep(0.05)
"""


@contextmanager
def searching(root: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A search by two processes: the first trial of each waits for the other, and while there is a file ``hold``."""
    (root / "meet.py").write_text(MEET)
    (root / "here").mkdir()
    own = ("tune.confirm.best=0", "tune.parallel=2", "allow_targets=[meet]", "+callbacks.meet._target_=meet.Meet")
    command = [sys.executable, "-m", "diagnose", "tune", *TINY, *OWN, *own, *words]
    environment = {**os.environ, **RAY}
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as search:
        try:
            yield search
        finally:
            search.kill()


def held(root: Path, search: subprocess.Popen[str]) -> tuple[Path, list[FrozenTrial]]:
    """The folder of the search, and the trials that its two processes run, once both are held in theirs."""
    end = time.monotonic() + LONG
    while len(list((root / "here").iterdir())) < 2 and search.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    plans = list(root.glob("outputs/tune/*/*/plan.json"))
    assert len(plans) == 1, search.communicate()[0] if search.poll() is not None else "no search began"
    folder = plans[0].parent
    trials = Plan.read(folder).study(folder).get_trials(states=(TrialState.RUNNING,))
    assert len(trials) == 2
    return folder, trials


def process_of(trial: FrozenTrial) -> int:
    return int(trial.user_attrs["process"].rpartition(":")[2])


@pytest.mark.slow
def test_a_killed_process_costs_the_trial_that_it_ran(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    with searching(tmp_path, "tune.trials=5", "trainer.max_epochs=4") as search:
        folder, (_, trial) = held(tmp_path, search)
        os.kill(process_of(trial), signal.SIGKILL)
        (tmp_path / "hold").unlink()
        said, _ = search.communicate(timeout=LONG)
    assert search.returncode == 0, said
    trials = found(tmp_path).trials
    assert sum(t.state in ("complete", "pruned") for t in trials) == 5
    killed = [values(trial, Plan.read(folder).space)]
    assert [t.values for t in trials if t.state == "lost"] == killed
    assert [t.values for t in trials if t.again is not None] == killed


@pytest.mark.slow
def test_a_killed_search_goes_on(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # meet.py, for the part that runs here
    (tmp_path / "hold").touch()
    with searching(tmp_path, "tune.trials=4", "trainer.max_epochs=4") as search:
        folder, orphans = held(tmp_path, search)
    (tmp_path / "hold").unlink()
    end = time.monotonic() + LONG
    while any(alive(process_of(t)) for t in orphans):  # they see that they are orphans and end
        assert time.monotonic() < end
        time.sleep(0.05)
    assert cli("tune", f"tune.resume={folder}", "tune.parallel=1") == 0
    trials = found(tmp_path).trials
    done = [t.values for t in trials if t.state in ("complete", "pruned")]
    assert len(done) == 4
    assert all(values(t, Plan.read(folder).space) in done for t in orphans)


@pytest.mark.slow
def test_two_workers_of_a_ray_cluster_share_a_search(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with searching(tmp_path, "tune.backend=ray", "tune.trials=4") as search:
        said, _ = search.communicate(timeout=LONG)
    assert search.returncode == 0, said
    folder = (tmp_path / "outputs" / "tune" / "latest").resolve()
    assert len({process_of(t) for t in Plan.read(folder).study(folder).get_trials()}) == 2
    assert Counter(t.state for t in found(tmp_path).trials) == {"complete": 4}


def test_json_holds_the_search(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("tune", *TINY, *OWN, "tune.trials=2", "tune.confirm.best=0", "--json") == 0
    out = capsys.readouterr().out
    document = json.loads(out)
    assert document["budget"] == 2
    assert len(document["trials"]) == 2
