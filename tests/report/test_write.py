from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from diagnose.record import Record
from diagnose.report import Report, build_report, write_report
from diagnose.report.write import FILES
from diagnose.values import Diagnosis
from tests.report.synthetic import HOSTILE, faulty, full_record


def test_every_format_and_every_figure_is_a_file(tmp_path: Path) -> None:
    report = build_report(full_record(batches=60), faulty())
    written = write_report(report, tmp_path / "new" / "run")
    assert {k: p.name for k, p in written.items()} == {**FILES, "figures": "figures"}
    assert Report.from_json(written["json"].read_text(encoding="utf-8")) == report
    names = {p.name for p in written["figures"].iterdir()}
    assert names == {f"{p.name}.svg" for p in report.pictures}
    assert {
        "loss.svg",
        "gradient.svg",
        "layers.svg",
        "activations.svg",
        "confusion-test.svg",
        "layers-maps.svg",
        "quality-test.svg",
    } <= names
    assert [p.name for p in written["html"].parent.iterdir() if p.name.startswith(".")] == []
    assert all(f"](figures/{p.name}.svg)" in written["md"].read_text(encoding="utf-8") for p in report.pictures)


def test_the_same_report_is_written_the_same(tmp_path: Path) -> None:
    report = build_report(full_record(HOSTILE, batches=60), faulty())
    one, two = write_report(report, tmp_path / "a"), write_report(report, tmp_path / "b")
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*")]
    assert len(files) > 10
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert one.keys() == two.keys()


def test_only_what_is_asked_for_is_written(tmp_path: Path) -> None:
    written = write_report(build_report(Record(), Diagnosis()), tmp_path, formats=("json",), figures=False)
    assert list(tmp_path.iterdir()) == [written["json"]]
    with pytest.raises(ValueError, match="expected formats among html, json, md, card, junit, sarif, got 'pdf'"):
        write_report(build_report(Record(), Diagnosis()), tmp_path, formats=("pdf",))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write the report to .*file/run: Not a directory; nothing half-written was left"):
        write_report(build_report(Record(), Diagnosis()), tmp_path / "file" / "run")


FULL = """
import resource, sys
from pathlib import Path
from diagnose.report import build_report, write_report
from tests.report.synthetic import faulty, full_record
report = build_report(full_record(batches=40), faulty())
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    write_report(report, Path(sys.argv[1]))
except OSError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_report_whole(tmp_path: Path, root: Path) -> None:
    write_report(build_report(Record(), Diagnosis()), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, cwd=root, check=True)
    assert f"cannot write the report to {tmp_path}: File too large; nothing half-written was left" in done.stdout
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_rendering_needs_no_torch(tmp_path: Path, root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from diagnose.report import *; from tests.report.synthetic import *\n"
        "write_report(build_report(full_record(batches=20), faulty()), Path(sys.argv[1]))\n"
        "print(sorted({'torch', 'lightning', 'sklearn', 'matplotlib.pyplot'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
