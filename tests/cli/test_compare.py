"""``report RUN_A RUN_B`` and ``evaluate`` of two files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnose.cli.arguments import UsageError
from diagnose.cli.compare import Terms, labels, own_names, pair, terms
from diagnose.record import Record

Cli = Callable[..., int]


def tables(root: Path) -> None:
    """Predictions of two models, the second with a fifth of its answers wrong."""
    for name, wrong in (("good", 50), ("bad", 5)):
        rows = [f"{k % 3},{(k + (k % wrong == 0)) % 3}" for k in range(200)]
        (root / f"{name}.csv").write_text("\n".join(["target,prediction", *rows]))


def test_two_tables_are_compared_without_torch(tmp_path: Path) -> None:
    tables(tmp_path)
    code = "import sys\nfrom diagnose.cli import main\nstatus = main(sys.argv[1:])\nassert 'torch' not in sys.modules\nsys.exit(status)"
    words = [sys.executable, "-c", code, "evaluate", "predictions=[good.csv,bad.csv]"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "bad.csv is worse than good.csv on test" in done.stdout
    page = Path(done.stdout.splitlines()[-1])
    assert page.parent.name == "comparison"
    assert {f.name for f in page.parent.iterdir()} >= {"report.html", "report.md", "report.json", "junit.xml"}


def test_two_runs_are_compared(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables(tmp_path)
    for name in ("good", "bad"):
        cli("evaluate", f"predictions={name}.csv", f"output_dir={name}")
    good, bad = "good/evaluate/latest", "bad/evaluate/latest"
    capsys.readouterr()
    assert cli("report", good, bad) == 1
    assert cli("report", good, bad, "fail_on=worse", "margin=0.3") == 0
    assert cli("report", bad, good) == 0
    capsys.readouterr()
    assert cli("report", bad, good, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["comparison"]["loaders"]["test"]["differences"][0]["verdict"] == "better"
    assert document["status"] == 0
    assert (tmp_path / good / "comparison" / "report.html").is_file()


def test_what_was_not_compared_has_not_passed(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables(tmp_path)
    (tmp_path / "values.csv").write_text("target,prediction\n" + "".join(f"{k / 2},{k / 3}\n" for k in range(30)))
    assert cli("evaluate", "predictions=[good.csv,values.csv]") == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "Not compared on test: good.csv is a multiclass model, values.csv a regression model" in said


@pytest.mark.slow
def test_two_checkpoints_are_compared(cli: Cli, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = next(trained.glob("checkpoints/epoch*.ckpt"))
    other = checkpoint.with_name("other.ckpt")
    other.write_bytes(checkpoint.read_bytes())
    assert cli("evaluate", f"ckpt_path=[{checkpoint},{other}]", "fail_on=worse") == 0
    assert "No difference between other.ckpt and" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["evaluate", "predictions=[a.csv]"], "two files are compared with each other: predictions=[A,B]; got predictions=[a.csv]"),
        (["evaluate", "predictions=[a.csv,b.csv]", "--multirun"], "predictions=[A,B] compares two files: without --multirun and --cfg"),
        (["evaluate", "predictions=[a.csv,b.csv]", "fail_on=never"], "fail_on must be worse, or one of info, warning, error, got 'never'"),
        (["evaluate", "predictions=[a.csv,b.csv]", "margin=x"], "margin must be a number, such as 0.01; got 'x'"),
        (["evaluate", "predictions=[a.csv,b.csv]", "margin=-1"], "margin must be at least 0, got '-1'"),
        (["evaluate", "predictions=[a.csv,b.csv]"], "there is no file 'a.csv'"),
        (["report", "a", "b"], "'a' is no run: no record at a/record"),
        (["report", "a", "b", "seed=3"], "a comparison takes fail_on (worse, or a severity) and margin, got 'seed=3'"),
    ],
)
def test_what_cannot_be_compared_is_said(words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(*words) == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_names_are_the_parts_that_differ() -> None:
    assert labels((Path("x/main/record"), Path("x/mine/record"))) == ("main", "mine")
    assert labels((Path("a/last.ckpt"), Path("b/best.ckpt"))) == ("last.ckpt", "best.ckpt")
    assert labels((Path("x"), Path("x"))) == ("first", "second")


def test_words_of_a_pair() -> None:
    assert pair(["ckpt_path=[a.ckpt, b.ckpt]", "seed=1"]) == ("ckpt_path", ("a.ckpt", "b.ckpt"), ["seed=1"])
    assert pair(["ckpt_path=a.ckpt"]) is None
    with pytest.raises(UsageError, match="two files are compared"):
        pair(["ckpt_path=[a,b]", "predictions=[a,b]"])
    assert terms(["fail_on=warning", "margin=0.5", "x=1"]) == (Terms(fail_on="warning", margin=0.5), ["x=1"])


def test_runs_are_called_after_what_they_are_about_where_that_tells_them_apart() -> None:
    def about(name: str) -> Record:
        record = Record()
        record.add("config", {"predictions": f"tables/{name}"})
        return record

    assert own_names((about("main.csv"), about("branch.csv"))) == ("main.csv", "branch.csv")
    assert own_names((about("main.csv"), about("main.csv"))) is None
