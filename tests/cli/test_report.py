"""``report``, ``check``, ``replay`` and the quick commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnose import __version__
from diagnose.cli.runs import followed, redacted
from diagnose.cli.usage import GROUPS, options
from diagnose.record import Record

Cli = Callable[..., int]

LOW_LOSS = {"losses": [2.3, 2.2, 2.1], "floor": 0.0, "initial": 2.3, "final": 2.1, "steps": 150, "batch_size": 16}


def saved_run(root: Path) -> Path:
    """A run with nothing but a record, in which a batch could not be overfitted."""
    record = Record(root / "run" / "record")
    record.add("run", {"command": "train", "seed": 1, "interrupted": ""})
    record.add("config", {"fail_on": "error", "rules": {"select": ["M212", "T302"], "ignore": [], "options": {}}})
    record.add("probe.overfit", LOW_LOSS)
    record.close()
    return root / "run"


def test_a_run_is_rendered_again_without_torch(tmp_path: Path) -> None:
    folder = saved_run(tmp_path)
    before = (folder / "record" / "events.jsonl").read_bytes()
    code = (
        "import sys\nfrom diagnose.cli import main\nstatus = main(sys.argv[1:])\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, "report", "run"], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.splitlines()[-1] == str(folder / "report.html")
    assert (folder / "report.html").is_file()
    assert (folder / "record" / "events.jsonl").read_bytes() == before


def test_rules_and_threshold_of_a_saved_run_can_be_chosen_anew(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved_run(tmp_path)

    def codes(*words: str) -> list[str]:
        cli("report", "run", "--json", *words)
        return [o["code"] for o in json.loads(capsys.readouterr().out)["outcomes"]]

    assert codes() == ["M212", "T302"]
    assert codes("rules.ignore=[T302]") == ["M212"]
    assert codes("rules.ignore=T302") == ["M212"]
    assert codes("rules.select=[T302]", "rules.vanishing-gradient.ratio=1e-4") == ["T302"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "report needs the folder of a run, for example: python -m diagnose report outputs/train/latest"),
        (["nowhere"], "'nowhere' is no run: no record at nowhere/record"),
        (["run", "seed=3"], "report takes rules.select, rules.ignore, thresholds of rules and fail_on, got 'seed=3'"),
        (["run", "fail_on=never"], "fail_on must be one of info, warning, error, got 'never'"),
        (["run", "rules.T302.colour=3"], "rules: rule vanishing-gradient has no threshold 'colour'"),
    ],
)
def test_what_cannot_be_rendered_is_said(words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved_run(tmp_path)
    assert cli("report", *words) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ('{"schema": 99}\n', "has schema 99, this version reads up to 2: update lightning-diagnose"),
        ('{"schema": 1}\n{"fact": broken\n{"schema": 1}\n', "events.jsonl is damaged"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(lines: str, text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved_run(tmp_path)
    (tmp_path / "new" / "record").mkdir(parents=True)
    (tmp_path / "new" / "record" / "events.jsonl").write_text(lines)
    before = sorted(tmp_path.rglob("*"))
    for words in (["new"], ["new", str(folder)], [str(folder), "new"]):
        assert cli("report", *words) == 2
        assert text in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pointer_in_a_text_file_is_followed(cli: Cli, tmp_path: Path) -> None:
    folder = saved_run(tmp_path)
    (tmp_path / "latest").write_text("run\n")
    assert followed(tmp_path / "latest") == folder
    assert cli("report", "latest") in (0, 1)


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_refuses_the_report_keeps_the_record(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved_run(tmp_path)
    folder.chmod(0o500)
    assert cli("report", "run") == 2
    assert "the record is kept; try again by: python -m diagnose report run" in capsys.readouterr().err
    folder.chmod(0o700)


def test_check_judges_without_training(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("check", "data=iris", "model.hidden=[8]", "trainer.accelerator=cpu") == 0
    folder = (tmp_path / "outputs" / "check" / "latest").resolve()
    record = Record.read(folder / "record")
    assert "probe.overfit" in record.facts
    assert "train/loss" not in list(record.names())
    assert record.facts["run"]["command"] == "check"
    assert not (folder / "checkpoints").exists()
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "report.html")


def test_check_finds_what_fail_on_asks_for(cli: Cli) -> None:
    words = ("check", "data=wine", "data.normalise=none", "trainer.accelerator=cpu", "rules.select=[D]")
    assert (cli(*words, "fail_on=error"), cli(*words, "fail_on=warning")) == (0, 1)


def test_help_lists_commands_groups_and_options(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("--help") == 0
    out = capsys.readouterr().out
    for group in GROUPS:
        assert all(name in out for name in (group, *options(group)))
    for word in ("train", "check", "evaluate", "report", "rules", "explain", "replay", "--multirun", "--cfg job", "--config-dir", "130"):
        assert word in out
    assert cli("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_rules_as_table_and_json(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("rules") == 0
    assert "T302" in capsys.readouterr().out
    assert cli("rules", "--json") == 0
    rows = {row["code"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["T302"]["name"] == "vanishing-gradient"
    assert set(rows["T302"]) == {"code", "name", "severity", "summary", "needs"}
    assert cli("rules", "T302") == 2
    assert "a single rule: python -m diagnose explain T302" in capsys.readouterr().err


def test_explain_prints_the_page_and_the_thresholds(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("explain", "vanishing-gradient") == 0
    out = capsys.readouterr().out
    for heading in ("What it measures", "Why it matters", "When it is wrong", "What to try", "References", "Thresholds"):
        assert heading in out
    assert "rules.vanishing-gradient.ratio" in out
    assert cli("explain", "T3O2") == 2
    assert "no rule has the code or name 'T3O2'; did you mean T302?" in capsys.readouterr().err
    assert cli("explain") == 2
    assert "explain needs the code or name of a rule" in capsys.readouterr().err


def test_explain_gives_the_margin_of_each_threshold_while_it_holds(
    cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    margins = {"T304": {"share": {"value": 0.8, "healthy": [0.42, "a"], "faulty": [1.0, "b"]}, "persistence": {"value": 0.5}}}
    known = {"date": "2030-01-02", "faulty": 7, "healthy": 9, "reach": 32.0, "margins": margins}
    monkeypatch.setattr("diagnose.cli.explain.measured", lambda: known)
    monkeypatch.setenv("COLUMNS", "300")
    assert cli("explain", "T304") == 0
    out = capsys.readouterr().out
    assert "rules.dead-units.share = 0.8; alarm on a healthy program at 0.42; fault missed at 1" in out
    assert "rules.dead-units.persistence = 0.8 (margins were measured at 0.5)" in out
    assert "rules.dead-units.records = 5 (its margin was not measured yet)" in out
    assert "Margins, measured on 2030-01-02: the nearest of 9 healthy and 7 faulty programs" in out
    assert cli("explain", "T301") == 0
    out = capsys.readouterr().out
    assert "None: it judges by exact facts." in out
    assert "Margins" not in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "replay needs one file"),
        (["nowhere.pt"], "there is no file 'nowhere.pt'"),
        (["x=1.pt"], "x=1.pt is not a saved reproduction"),
    ],
)
def test_replay_says_what_is_wrong(words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x=1.pt").write_text("no reproduction")
    assert cli("replay", *words) == 2
    assert text in capsys.readouterr().err


def test_a_step_that_was_not_finite_is_replayed_with_the_config_of_its_run(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=iris", "model.hidden=[8]", "model.norm=none", "trainer.max_epochs=3", "trainer.accelerator=cpu", "optimizer.lr=1e30")
    cli("train", *words, "optimizer=sgd", "trainer.gradient_clip_val=null", "scheduler=none", "callbacks.early_stopping=null")
    folder = (tmp_path / "outputs/train/latest").resolve()
    found = Record.read(folder / "record").facts["nonfinite"]
    (file,) = folder.rglob("*.pt")
    capsys.readouterr()
    assert found["file"]
    assert cli("replay", str(file)) == 0
    out = capsys.readouterr().out
    assert "is not finite" in out.splitlines()[-1]


def test_an_unknown_command_is_named(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("trian") == 2
    assert capsys.readouterr().err.startswith("diagnose: there is no command 'trian'; did you mean 'train'?")


def test_secrets_are_taken_out_of_what_is_recorded() -> None:
    config = {"logger": {"api_key": "abc", "name": "x"}, "list": [{"password": "p"}], "token": None}
    assert redacted(config) == {"logger": {"api_key": "***", "name": "x"}, "list": [{"password": "***"}], "token": None}
