"""``train``, end to end on small data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from diagnose.record import Record
from diagnose.search.values import Search
from tests.ports import held_port

Cli = Callable[..., int]
LONG = 600  # seconds that no machine needs: what takes so long hangs
TINY = ("data=iris", "model.hidden=[8]", "trainer.max_epochs=2", "trainer.accelerator=cpu")


def runs(root: Path, command: str = "train") -> list[Path]:
    return sorted(p.parent for p in (root / "outputs" / command).glob("*/*/.hydra"))


def test_a_run_leaves_its_folder_and_nothing_else(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli("train", *TINY)
    (folder,) = runs(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"outputs"}
    assert {p.name for p in (tmp_path / "outputs" / "train").iterdir()} == {folder.parent.name, "latest"}
    assert {p.name for p in folder.iterdir()} == {
        *(
            "report.html",
            "report.json",
            "report.md",
            "report.sarif",
            "model_card.md",
            "junit.xml",
            "figures",
            "record",
            "checkpoints",
            ".hydra",
        )
    }
    assert {p.name for p in (folder / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert (tmp_path / "outputs" / "train" / "latest").resolve() == folder
    assert Path.cwd() == tmp_path
    record = Record.read(folder / "record")
    run = record.facts["run"]
    assert (run["command"], run["seed"], run["epochs_done"], run["interrupted"]) == ("train", 7, 2, "")
    assert (folder / run["checkpoint"]).is_file()
    assert {"torch", "lightning", "openTSNE"} <= set(run["versions"])
    assert [s["name"] for s in record.facts["stages"]] == ["import", "data", "check", "fit", "evaluate", "judge", "report"]
    assert record.facts["config"]["model"]["hidden"] == [8]
    assert record.facts["config_keys"]["learning_rate"] == "optimizer.lr"
    assert set(record.facts["evaluation"]) == {"test"}
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(folder / "report.html")
    assert f"folder     {folder}" in printed
    assert f"checkpoint {run['checkpoint']}" in printed
    assert "seed       7" in printed
    assert any(line.startswith("versions   python 3") for line in printed)
    assert any(line.startswith("seconds    ") and "report" in line for line in printed)
    assert status == int(bool(json.loads((folder / "report.json").read_text())["diagnosis"]["findings"]) and status)


def test_the_same_seed_gives_the_same_numbers_and_maps(cli: Cli, tmp_path: Path) -> None:
    records = []
    for seed in (3, 3, 4):
        cli("train", *TINY, f"seed={seed}")
        records.append(Record.read(tmp_path / "outputs" / "train" / "latest" / "record"))
    one, two, other = records
    assert one.facts["evaluation"] == two.facts["evaluation"] != other.facts["evaluation"]
    assert np.array_equal(one.series("train/loss").value, two.series("train/loss").value)
    assert one.arrays.keys() == two.arrays.keys()
    assert any(name.startswith("embedding/") for name in one.arrays)
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)


def test_multirun_gives_each_run_its_folder_and_a_table(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli("train", *TINY, "trainer.max_epochs=1", "-m", "seed=1,2", "data.batch_size=16,500")
    out = capsys.readouterr().out
    seeds = [OmegaConf.load(folder / ".hydra" / "config.yaml").seed for folder in runs(tmp_path)]
    assert (status, sorted(seeds)) == (2, [1, 2])
    table = out[out.rindex("run ") :]
    assert "seed=1 data.batch_size=16" in table
    search = Search.read(Path(table.splitlines()[-1]).with_name("search.json"))
    assert [(t.state, t.seed, t.values) for t in search.trials] == [
        ("complete", 1, {"data.batch_size": 16}),
        ("failed", 1, {"data.batch_size": 500}),
        ("complete", 2, {"data.batch_size": 16}),
        ("failed", 2, {"data.batch_size": 500}),
    ]
    assert len(search.confirmed[0].scores) == 2
    assert "data.batch_size=16" in search.command
    assert "seed" not in search.command
    assert out.count("diagnose: data: data.batch_size=500 is larger than the training part of") == 2


def test_multirun_stays_on_one_device(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("train", "-m", "seed=1,2", "trainer.devices=2") == 2
    assert "--multirun runs on one device; set trainer.devices=1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_json_is_the_only_output(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli("train", *TINY, "trainer.max_epochs=1", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == status
    assert Path(found["report"]).is_file()
    assert {"headlines", "findings", "outcomes"} <= set(found)


def test_two_runs_of_one_second_get_two_folders(cli: Cli, tmp_path: Path) -> None:
    for _ in range(2):
        cli("check", *TINY, "hydra.run.dir=outputs/check/day/second")
    assert {p.name for p in (tmp_path / "outputs/check/day").iterdir()} == {"second", "second-2"}
    assert (tmp_path / "outputs/check/latest").resolve().name == "second-2"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["trainer.max_epochs=0"],
            "trainer.max_epochs must be at least 1, got 0\nto look at a model without training: python -m diagnose check",
        ),
        (["data.batch_size=500"], "data: data.batch_size=500 is larger than the training part of 97 samples; choose at most 48"),
        (["data.val_share=0.01"], "data: the data cannot be split by data.val_share=0.01"),
        (["model=cnn"], "model: model=cnn needs images of shape (channels, height, width)"),
        (["model._target_=logging.os.system"], "_target_ 'logging.os.system' is outside diagnose.models"),
        (["optimizer._target_=torch.optim.Adma"], "_target_ 'torch.optim.Adma' is not there"),
        (["+optimizer.rate=1"], "optimizer or scheduler: "),
        (["trainer.accelerator=abacus"], "trainer: You selected an invalid accelerator name"),
        (["++trainer.epochs=1"], "trainer: "),
        (["callbacks.doctor.on_error=shout"], "callbacks.doctor: on_error must be one of warn, stop, raise, got 'shout'"),
        (["logger.name=paper"], "logger.name must be none, csv or tensorboard, got 'paper'"),
        (["fail_on=anything"], "fail_on must be one of info, warning, error, got 'anything'"),
        (["rules.select=[Q]"], "rules: no rule has the code or name 'Q'"),
        (["ckpt_path=epoch=3, x.ckpt"], "there is no checkpoint 'epoch=3, x.ckpt'"),
        (["model=mpl"], "model has no option 'mpl'; did you mean 'mlp'?"),
    ],
)
def test_what_cannot_be_run_says_so_and_leaves_nothing(
    words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("train", *TINY[:1], *words) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) <= 6
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_leaves_the_runs_before_it(cli: Cli, trained: Path) -> None:
    assert cli("train", "trainer.max_epochs=0") == 2
    assert (trained.parent.parent / "latest").resolve() == trained
    assert len(runs(trained.parents[3])) == 1


def test_a_folder_that_cannot_be_written_is_named(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    assert cli("train", *TINY, "output_dir=taken") == 2
    assert "the run's folder" in (printed := capsys.readouterr().err)
    assert "choose another by output_dir=DIR" in printed


def test_debug_shows_the_traceback(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("train", "trainer.max_epochs=0", "--debug") == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_saved_run_is_replayed(cli: Cli, trained: Path, tmp_path: Path) -> None:
    assert cli("train", "--config-path", str(trained / ".hydra"), "output_dir=again") in (0, 1)
    (folder,) = (p.parent for p in (tmp_path / "again/train").glob("*/*/.hydra"))
    one, two = (Record.read(f / "record").facts["evaluation"] for f in (trained, folder))
    assert one == two


def test_logger_files_stay_in_the_run(cli: Cli, tmp_path: Path) -> None:
    cli("train", *TINY, "trainer.max_epochs=1", "logger=csv")
    (folder,) = runs(tmp_path)
    assert "val/loss" in (folder / "metrics.csv").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {"outputs"}


def test_an_own_module_and_own_data_are_trained(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    for group, name in (("model", "net"), ("data", "toy")):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(f"_target_: mine.{name.title()}\n")
    words = ("--config-dir", "conf", "model=net", "data=toy", "allow_targets=[mine]", "callbacks=null", "scheduler=null")
    status = cli("train", *words, "trainer.max_epochs=1", "trainer.accelerator=cpu", "+trainer.enable_checkpointing=false")
    assert status in (0, 1)
    record = Record.read(runs(tmp_path)[0] / "record")
    assert "evaluation" not in record.facts
    assert "test_dataloader" in record.missing["evaluation"]


def test_an_error_of_the_users_code_is_raised_after_the_report(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hooks.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RuntimeError, match="the tape is full"):
        cli("train", *TINY, "allow_targets=[hooks]", "+callbacks.own._target_=hooks.Broken")
    (folder,) = runs(tmp_path)
    said = Record.read(folder / "record").facts["run"]["interrupted"]
    assert said == "interrupted at epoch 1, step 6 by RuntimeError: the tape is full"
    assert (folder / "report.html").is_file()


BROKEN = """
from lightning.pytorch import Callback

class Broken(Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            raise RuntimeError("the tape is full")
"""

OWN = """
import torch
from lightning.pytorch import LightningDataModule, LightningModule

class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

class Toy(LightningDataModule):
    def train_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(64, 4, generator=generator)
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :3].argmax(1)), 16, shuffle=True)
"""


START = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs inherit that it is ignored
if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.executable, [sys.executable, "-m", "diagnose", "train", *sys.argv[2:]])
"""


def start(*words: str, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, str(limit), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_it_had_and_says_where(tmp_path: Path) -> None:
    process = start("trainer.max_epochs=5000", "callbacks.early_stopping=null", "trainer.accelerator=cpu")
    deadline = time.monotonic() + LONG
    while not training_began(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 130, err
    (folder,) = runs(tmp_path)
    record = Record.read(folder / "record")
    where = record.facts["run"]["interrupted"]
    assert where.startswith("interrupted at epoch ")
    assert where in out
    assert where in (folder / "report.html").read_text()
    assert len(record.series("train/loss")) > 20
    assert (folder / "checkpoints" / "last.ckpt").is_file()


def training_began(root: Path) -> bool:
    """Whether the run has recorded more than 20 losses and saved its first checkpoint."""
    for events in root.glob("outputs/train/*/*/record/events.jsonl"):
        record = Record.read(events.parent)
        losses = len(record.series("train/loss")) if "train/loss" in record.names() else 0
        if losses > 20 and (events.parent.parent / "checkpoints" / "last.ckpt").is_file():
            return True
    return False


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_no_half_report(tmp_path: Path) -> None:
    process = start(*TINY, limit=40_000)
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == 2, err
    assert "File too large" in err
    assert len(err.splitlines()) <= 6
    for folder in runs(tmp_path):
        assert not list(folder.glob("report*"))


@pytest.mark.slow
def test_two_processes_share_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_port() as port:
        monkeypatch.setenv("MASTER_PORT", port)
        process = start(*TINY, "trainer.devices=2", "+trainer.strategy=ddp")
        out, err = process.communicate(timeout=LONG)
    assert process.returncode in (0, 1), err
    (folder,) = runs(tmp_path)
    assert Record.read(folder / "record").facts["run"]["world_size"] == 2
    assert out.count("versions   ") == 1


def test_secrets_typed_on_the_command_line_are_not_saved(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "from the environment")
    cli("check", *TINY, "+tracker.api_key=hunter2-hunter2", "+tracker.token=${oc.env:MY_TOKEN}", "+tracker.name=mine")
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in (tmp_path / "outputs").rglob("*") if p.is_file()]
    assert not any("hunter2" in text or "from the environment" in text for text in texts)
    (saved,) = (tmp_path / "outputs" / "check").glob("*/*/.hydra/config.yaml")
    kept = OmegaConf.load(saved)
    assert OmegaConf.is_missing(kept.tracker, "api_key")
    assert kept.tracker.name == "mine"
    assert "${oc.env:MY_TOKEN}" in saved.read_text(encoding="utf-8")
