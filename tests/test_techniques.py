"""The pages on techniques: their commands compose, their tables are what the script writes, and the script writes what `train` gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.technique_runs import Run
from scripts.techniques import LARGEST, PAGES, blocks, draw, faults, main, shown, written

FILES = sorted(PAGES.glob("*.md"))
PAGE = """# Rates

```sh
python -m diagnose train data=iris model.hidden=[4] trainer.max_epochs=1 trainer.accelerator=cpu
```

<!-- runs rates lr -->
| and | test accuracy | steps | found |
|---|---|---|---|
| as it stands | … | … | … |
| `optimizer=sgd data.batch_size=null` | … | … | … |
<!-- end -->

The end.
"""


def test_the_themes_of_the_course_have_pages() -> None:
    names = {"data", "networks", "losses", "optimizers", "schedules", "regularisation", "batch_norm", "rate_and_batch"}
    assert {page.stem for page in FILES} == names
    listed = (PAGES.parent / "training.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"techniques/{name}.md" not in listed] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", FILES, ids=lambda page: page.stem)
def test_every_table_can_be_run_and_is_filled(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert list(faults(text)) == []
    assert text.count("python -m diagnose") >= len(list(blocks(text))) > 0


def test_the_figures_are_small_and_shown() -> None:
    pictures = {place.name: place for place in (PAGES / "pictures").iterdir()}
    shown_ones = {block.picture for page in FILES for _, block in blocks(page.read_text(encoding="utf-8")) if block.picture}
    assert set(pictures) == {f"{name}.svg" for name in shown_ones}
    assert max(place.stat().st_size for place in pictures.values()) <= LARGEST
    text = "".join(page.read_text(encoding="utf-8") for page in FILES)
    assert [name for name in pictures if f"](pictures/{name})" not in text] == []


def test_a_page_is_filled_and_nothing_else_of_it_changes() -> None:
    rows = [[Run(numbers={"test accuracy": a, "steps": 6.0}, codes=("T304",)) for a in pair] for pair in ((0.5, 0.7), (0.9, 0.9))]
    filled = written(PAGE, [rows])
    assert "| as it stands | 0.600 ± 0.141 | 6 | T304 |\n" in filled
    assert "| `optimizer=sgd data.batch_size=null` | 0.900 | 6 | T304 |\n<!-- end -->" in filled
    assert [block for _, block in blocks(filled)] == [block for _, block in blocks(PAGE)]
    assert written(filled, [rows]) == filled
    assert filled.partition("|")[0] == PAGE.partition("|")[0]
    assert filled.endswith("<!-- end -->\n\nThe end.\n")


def test_a_cell_says_of_how_many_runs_it_speaks() -> None:
    runs = [Run(numbers={"best val loss": v}, codes=c) for v, c in ((1.0, ("D102", "T304")), (2.0, ("D102",)), (float("nan"), ("T306",)))]
    assert shown("best val loss", runs) == "1.500 ± 0.707 (2 of 3)"
    assert shown("best val loss", runs[2:]) == "not finite"
    assert shown("test R²", runs) == "–"
    assert shown("found", runs) == "D102"
    assert shown("found", runs[:1]) == "D102, T304"
    assert shown("steps clipped", [Run(numbers={"steps clipped": 0.25})]) == "25%"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("data=iris", "data=iriss", "optimizer=sgd data.batch_size=null: data has no option 'iriss'"),
        ("test accuracy", "beauty", "unknown column 'beauty'"),
        ("rates lr", "rates speed", "unknown command or series: train speed"),
        ("rates lr", "nothing lr", "there is no picture nothing.svg"),
        ("<!-- end -->", "", "1 tables are marked, 0 can be read"),
        ("| as it stands | … |", "| as it stands | about 1 |", "expected test accuracy, steps, found, got about 1, …, …; run this page"),
    ],
)
def test_what_cannot_be_run_is_named(old: str, new: str, text: str) -> None:
    assert text in "\n".join(faults(PAGE.replace(old, new)))


def test_a_figure_has_a_curve_per_row(tmp_path: Path) -> None:
    _, block = next(blocks(PAGE))
    runs = [[Run(curves={"lr": ([1.0, 2.0, 3.0], [0.1, 0.2 * k, 0.3])})] for k in (1, 2)]
    draw(tmp_path / "rates.svg", block, runs)
    text = (tmp_path / "rates.svg").read_text(encoding="utf-8")
    assert "Learning rate: as it stands, sgd batch_size=null" in text
    assert "optimizer step" in text


@pytest.mark.slow
def test_a_row_is_the_training_of_its_words(tmp_path: Path) -> None:
    page = tmp_path / "rates.md"
    page.write_text(PAGE, encoding="utf-8")
    assert main([str(page), "--seeds", "1", "--processes", "1"]) == 0
    assert (tmp_path / "pictures" / "rates.svg").exists()
    words = ("data=iris", "model.hidden=[4]", "trainer.max_epochs=1", "trainer.accelerator=cpu", "optimizer=sgd", "data.batch_size=null")
    command = [sys.executable, "-m", "diagnose", "train", *words, "seed=0", "layers=[]", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    row = next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `optimizer=sgd"))
    assert row.split("|")[2].strip() == f"{json.loads(done.stdout)['headlines']['accuracy']:.3f}"
