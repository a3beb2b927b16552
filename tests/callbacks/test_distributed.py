"""Trainings in two processes with every callback: they end, count each sample once, stop together, and leave one record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from tests.ports import held_port

pytestmark = pytest.mark.slow
SCENARIOS = ("everything", "stop", "nan", "crash")


def launch(folder: Path, *scenarios: str) -> subprocess.CompletedProcess[str]:
    """Run trainings of ``two_processes.py`` in a folder."""
    command = [sys.executable, str(Path(__file__).with_name("two_processes.py")), *scenarios]
    with held_port() as port:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "MASTER_PORT": port}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the trainings of ``two_processes.py`` left what each process saw."""
    folder = tmp_path_factory.mktemp("two")
    done = launch(folder, *SCENARIOS)
    assert [line.split()[0] for line in done.stdout.splitlines() if line.endswith(" ended")] == list(SCENARIOS)
    (folder / "log").write_text(done.stderr)
    return folder


def seen(left: Path, scenario: str, stage: str = "fit") -> list[dict[str, Any]]:
    """What each of the two processes saw."""
    return [json.loads((left / f"{scenario}-{stage}-{rank}.json").read_text()) for rank in range(2)]


def received(sent: list[list[Any]]) -> list[int]:
    """Sizes of the messages with content, in bytes."""
    return [size for name, size in sent if name != "barrier"]


def test_each_of_21_samples_is_counted_once(left: Path) -> None:
    for stage, name in (("fit", "val"), ("test", "test")):
        first, second = (np.array(s["counts"][name]) for s in seen(left, "everything", stage))
        assert first.sum() == 21
        assert (first == second).all()


def test_the_validation_loss_is_that_of_all_samples(left: Path) -> None:
    first, second = seen(left, "everything")
    assert first["val"] == second["val"]
    matrix = np.array(first["counts"]["val"])
    assert first["val"]["val/accuracy"][-1] == pytest.approx(matrix.trace() / 21, abs=1e-6)
    assert first["val"]["val/loss"][-1] == pytest.approx(first["loss"], abs=1e-5)


def test_gradients_are_clipped_alike(left: Path) -> None:
    first, second = seen(left, "everything")
    assert first["clipped"] == second["clipped"] == pytest.approx(Record.read(left / "record").facts["clipping"])
    assert first["clipped"]["steps"] == 10
    assert 0 < first["clipped"]["share"] < 1
    assert first["weights"] == second["weights"]
    record = Record.read(left / "record")
    ratio = record.series("grad_norm/clipped").value / record.series("grad_norm/total").value
    np.testing.assert_allclose(record.series("clip/ratio").value, ratio, rtol=1e-5)
    assert np.mean(ratio < 0.999) == pytest.approx(first["clipped"]["share"])


TORCHRUN = {"RANK": "{rank}", "LOCAL_RANK": "{rank}", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
SLURM = {"SLURM_PROCID": "{rank}", "SLURM_LOCALID": "{rank}", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0"}
SLURM |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "localhost"}


@pytest.mark.parametrize("variables", [TORCHRUN | {"TORCHELASTIC_RUN_ID": "7"}, SLURM], ids=["torchrun", "slurm"])
def test_processes_that_a_cluster_started(variables: dict[str, str], tmp_path: Path) -> None:
    both = []
    with held_port() as port:
        for rank in "01":
            given = {name: value.format(rank=rank) for name, value in variables.items()}
            environment = {**os.environ, **given, "MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
            environment["PYTHONPATH"] = str(Path(__file__).parents[2])
            command = [sys.executable, str(Path(__file__).with_name("two_processes.py")), "cluster"]
            pipe = subprocess.PIPE
            both.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True))
        said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    first, second = seen(tmp_path, "cluster")
    assert np.array(first["counts"]["val"]).sum() == 21
    assert first["counts"] == second["counts"]
    assert first["weights"] == second["weights"]
    record = Record.read(tmp_path / "cluster")
    assert record.facts["run"]["world_size"] == 2
    assert record.facts["run"]["finished"]


def test_there_is_one_record_and_one_file_each(left: Path) -> None:
    record = Record.read(left / "record")
    assert record.facts["run"]["world_size"] == 2
    assert record.facts["run"]["finished"]
    assert len(record.series("train/loss")) == 20
    assert sum('"schema"' in line for line in (left / "record/events.jsonl").read_text().splitlines()) == 1
    assert sorted(p.name for p in (left / "matrix").glob("*.json")) == [
        "test.json",
        "val-epoch0000-step000005.json",
        "val-epoch0001-step000010.json",
    ]
    assert len(list((left / "map").glob("fit-*.csv"))) == 1


def test_an_error_that_one_process_sees_stops_all_at_the_same_step(left: Path) -> None:
    first, second = seen(left, "stop")
    assert first["steps"] == second["steps"] == 30
    assert first["stopped"]
    assert second["stopped"]
    assert "process 1: error X901 planted: it was planted" in (left / "log").read_text()


def test_the_first_nan_is_kept_wherever_it_was_seen(left: Path) -> None:
    fact = Record.read(left / "nan").facts["nonfinite"]
    assert (fact["what"], fact["step"], fact["rank"]) == ("loss", 12, 1)
    assert (left / fact["file"]).is_file()


def test_what_fails_in_one_process_is_off_in_all(left: Path) -> None:
    first, second = seen(left, "crash")
    assert first["steps"] == second["steps"] == 20
    assert first["off"] == {"matrix": "ConfusionMatrix failed in another process and is switched off in all of them", "map": ""}
    assert "made to fail" in second["off"]["matrix"]
    assert "Validation failed in another process" in first["missing"]["val/loss"]
    assert "train/loss" in Record.read(left / "crash")


def test_sharded_parameters_are_said_not_to_be_monitored(tmp_path: Path) -> None:
    scenarios = ("sharded1", "sharded2")  # both processes get the same batches; each gets its own
    launch(tmp_path, *scenarios)
    for scenario in scenarios:
        why = Record.read(tmp_path / scenario).missing["grad_norm/total"]
        assert why == "not monitored: the parameters are sharded, and the norm of a shard is not the norm of the gradient"
        for saw in seen(tmp_path, scenario):
            assert np.array(saw["counts"]["val"]).sum() == 21
            assert saw["val"]["val/loss"][-1] == pytest.approx(saw["loss"], abs=1e-5)


def test_what_is_exchanged_depends_on_validations_and_not_on_steps(left: Path) -> None:
    for first, second in zip(*seen(left, "everything"), strict=False):
        assert first == second
    sent = received(seen(left, "stop")[0]["sent"])
    assert max(sent) <= 8 * (3 + 2 * 3)  # sums of a validation of three classes
    per_epoch = 40 + 40 + 16 + 72  # who failed, at the end of validation and epoch; how many sums; the sums
    assert sum(sent) <= 4 * per_epoch + 3 * 100
