"""Run the trainings of docs/techniques/ and write their numbers and figures into the pages.

    python -m scripts.techniques [PAGE ...] [--seeds 3] [--processes 2] [--check]

A page says itself what is run. After a block with a command, ``python -m diagnose COMMAND WORDS``, stands a table between the markers
``<!-- runs -->`` and ``<!-- end -->``; the first cell of a row holds further words, the other columns are named after `COLUMNS`. Each row
is run with the same seeds, of split, weights and batches, and gets mean and standard deviation over them; `FOUND` names what the doctor
found in more than half of them. ``<!-- runs PICTURE SERIES -->`` also draws a series, of the first seed, into
docs/techniques/pictures/PICTURE.svg. ``--check`` runs nothing: it says what of a page could not be run.
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scripts.technique_runs import COMMANDS, Run

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "techniques"
BLOCK = re.compile(
    r"^```sh\npython -m diagnose (?P<command>\w+)(?P<words>[^\n#]*)[^`]*```\n\n"
    r"<!-- runs(?P<drawn>[^>]*) -->\n(?P<table>(?:\|.*\n)+)<!-- end -->",
    re.M,
)
LARGEST = 60_000  # bytes of a figure
FILLED = re.compile(r"–|not finite|[A-Z]\d{3}(, [A-Z]\d{3})*|-?[\d.,e+-]+%?( ± [\d.,e+-]+%?)?( \(\d of \d\))?")  # what `shown` writes


@dataclass(frozen=True, kw_only=True)
class Block:
    """A command of a page with the rows of its table."""

    command: str
    words: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...]
    picture: str = ""
    series: str = ""


COLUMNS: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(("test accuracy", "test log loss", "calibration error", "test R²", "difference", "explained"), "{:.3f}".format),
    **dict.fromkeys(("best val loss", "last val loss", "last train loss"), "{:.3f}".format),
    **dict.fromkeys(("recall", "precision"), "{:.2f}".format),
    **dict.fromkeys(("last to first scale", "suggested rate", "rises above"), "{:.2g}".format),
    **dict.fromkeys(("epochs", "steps", "noise scale"), "{:.0f}".format),
    "test MAE": "{:.1f}".format,
    "parameters": "{:,.0f}".format,
    "steps clipped": "{:.0%}".format,
}
FOUND = "found"
SERIES: dict[str, tuple[str, str, str, dict[str, Any]]] = {  # title, axes, scales
    "lr": ("Learning rate", "optimizer step", "learning rate", {}),
    "val/loss": ("Validation loss", "optimizer step", "loss", {"log": True}),
    "activation/std": ("Scale of the activations at the start", "activation, from first to last", "standard deviation", {"log": True}),
    "range": ("Range test", "learning rate", "loss, median of the sweeps", {"xlog": True, "limits": (0.0, 5.0)}),
}


def blocks(text: str) -> Iterator[tuple[re.Match[str], Block]]:
    """The tables of a page that are run."""
    for match in BLOCK.finditer(text):
        head, _, *body = [cells(line) for line in match["table"].splitlines()]
        picture, series = ([*match["drawn"].split(), "", ""])[:2]
        rows = tuple(tuple(shlex.split(re.findall(r"`([^`]*)`", row[0])[0])) if "`" in row[0] else () for row in body)
        words = tuple(shlex.split(match["words"]))
        yield match, Block(command=match["command"], words=words, rows=rows, columns=tuple(head[1:]), picture=picture, series=series)


def cells(line: str) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def written(text: str, found: Iterable[Sequence[Sequence[Run]]]) -> str:
    """A page with its tables filled.

    Args:
        text: The page.
        found: Per table and row the runs of all seeds.
    """
    parts, end = [], 0
    for (match, block), runs in zip(blocks(text), found, strict=True):
        head, rule, *body = match["table"].splitlines()
        rows = [
            f"| {' | '.join([cells(line)[0], *(shown(c, own) for c in block.columns)])} |" for line, own in zip(body, runs, strict=True)
        ]
        parts += [text[end : match.start("table")], "\n".join([head, rule, *rows]), "\n"]
        end = match.end("table")
    return "".join([*parts, text[end:]])


def shown(column: str, runs: Sequence[Run]) -> str:
    """A cell: mean and standard deviation over the seeds, or the codes that more than half of the runs have."""
    if column == FOUND:
        codes = sorted({code for run in runs for code in run.codes})
        return ", ".join(code for code in codes if 2 * sum(code in run.codes for run in runs) > len(runs)) or "–"
    values, form = [run.numbers[column] for run in runs if column in run.numbers], COLUMNS[column]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "–" if not values else "not finite"
    middle = form(mean(known)) if len(set(map(form, known))) == 1 else f"{form(mean(known))} ± {form(stdev(known))}"
    return middle if len(known) == len(runs) else f"{middle} ({len(known)} of {len(runs)})"


def named(word: str) -> str:
    """A word in a legend: the option of a group, or the last part of a key with its value."""
    key, _, value = word.partition("=")
    return f"{key.rpartition('.')[2]}={value}" if "." in key else value


def draw(place: Path, block: Block, runs: Sequence[Sequence[Run]]) -> None:
    """Write the series of the first seed of each row as one figure of the report."""
    from diagnose.report.figures import panel_figure
    from diagnose.report.panels import colours, line, lines
    from diagnose.report.svg import inline_svg, sheet
    from diagnose.report.values import Picture

    names = [" ".join(map(named, row)) or "as it stands" for row in block.rows]
    curves = [
        line(*own[0].curves[block.series], label=name, colour=colour, points=100, band=False)
        for name, own, colour in zip(names, runs, colours(len(names)), strict=True)
    ]
    title, xlabel, ylabel, extra = SERIES[block.series]
    panel = lines(title, curves, xlabel=xlabel, ylabel=ylabel, **extra)
    legend = tuple((curve["label"], curve["colour"]) for curve in curves)
    picture = Picture(name=block.picture, title="", alt=f"{title}: {', '.join(names)}", panels=(panel,), legend=legend)
    place.parent.mkdir(exist_ok=True)
    place.write_text(sheet(picture, [inline_svg(panel_figure(picture, 0), name=block.picture, alt=picture.alt)]), encoding="utf-8")
    if (size := place.stat().st_size) > LARGEST:
        raise RuntimeError(f"{place.name} has {size} bytes, expected at most {LARGEST}: draw fewer curves")


def faults(text: str) -> Iterator[str]:
    """What of a page could not be run, or is not filled."""
    from diagnose.cli.arguments import Arguments, UsageError
    from diagnose.cli.trial import settings_of

    found = list(blocks(text))
    if text.count("<!-- runs") != len(found):
        yield f"{text.count('<!-- runs')} tables are marked, {len(found)} can be read"
    for match, block in found:
        yield from (f"unknown column {name!r}" for name in block.columns if name != FOUND and name not in COLUMNS)
        if block.command not in COMMANDS or (block.picture and block.series not in SERIES):
            yield f"unknown command or series: {block.command} {block.series}"
        for words, line in zip(block.rows, match["table"].splitlines()[2:], strict=True):
            try:
                settings_of(Arguments(command="train", words=[*block.words, *words]), {}, 0)
            except UsageError as error:
                yield f"{' '.join(words)}: {error}"
            _, *filled = cells(line)
            if len(filled) != len(block.columns) or not all(map(FILLED.fullmatch, filled)):
                yield f"{' '.join(words)}: expected {', '.join(block.columns)}, got {', '.join(filled)}; run this page"
        if block.picture and not (PAGES / "pictures" / f"{block.picture}.svg").exists():
            yield f"there is no picture {block.picture}.svg"


def nines(folder: Path) -> Path:
    """The table that the page on data makes: the digits with one rare class."""
    from sklearn.datasets import load_digits

    table = load_digits(as_frame=True).frame
    table["nine"] = ["yes" if digit == 9 else "no" for digit in table.pop("target")]
    table.to_csv(folder / "nines.csv", index=False)
    return folder / "nines.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and write the pages, or check them; the exit status says whether something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, default=sorted(PAGES.glob("*.md")))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    if options.check:
        said = [f"{page.name}: {fault}" for page in options.pages for fault in faults(page.read_text(encoding="utf-8"))]
        print("\n".join(said) or "every table can be run")
        return int(bool(said))
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        place = nines(Path(name))
        for page in options.pages:
            text = page.read_text(encoding="utf-8")
            waiting = []
            for _, block in blocks(text):
                words = [word.replace("nines.csv", str(place)) for word in block.words]
                once = COMMANDS[block.command]
                waiting.append(
                    [[pool.submit(once, [*words, *row], seed, block.series) for seed in range(options.seeds)] for row in block.rows]
                )
            found = [[[run.result() for run in row] for row in table] for table in waiting]
            for (_, block), runs in zip(blocks(text), found, strict=True):
                if block.picture:
                    draw(page.parent / "pictures" / f"{block.picture}.svg", block, runs)
            page.write_text(written(text, found), encoding="utf-8")
            print(f"{page.name}: {sum(len(row) for table in found for row in table)} runs", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
