"""A report to files: all of them, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from diagnose.report.card import evaluations, to_model_card
from diagnose.report.drawn import draw_panels
from diagnose.report.html import to_html
from diagnose.report.junit import to_junit
from diagnose.report.markdown import to_markdown
from diagnose.report.sarif import to_sarif
from diagnose.report.svg import sheet
from diagnose.report.values import Report

FILES = {
    "html": "report.html",
    "json": "report.json",
    "md": "report.md",
    "card": "model_card.md",
    "junit": "junit.xml",
    "sarif": "report.sarif",
}


def write_report(
    report: Report, folder: Path, *, formats: Sequence[str] = tuple(FILES), figures: bool = True, fail_on: str = "error"
) -> dict[str, Path]:
    """Write a report; every file is complete before the first takes its place.

    Args:
        report: What to write.
        folder: Where to; it is made where it does not exist.
        formats: Some of ``html json md card junit sarif``; the model card (``card``) is written of what was evaluated only.
        figures: Write each picture as an SVG file into ``figures/`` too.
        fail_on: The severity from which a finding is a failure in ``junit.xml``.

    Returns:
        The written files by format, and the folder of the pictures under ``figures``.

    Raises:
        ValueError: A format is not known.
        OSError: The folder cannot be written, or the disk is full; what stood there before still stands.
    """
    unknown = [f for f in formats if f not in FILES]
    if unknown:
        raise ValueError(f"expected formats among {', '.join(FILES)}, got {unknown[0]!r}")
    formats = [name for name in formats if name != "card" or evaluations(report)]
    drawn = {picture.name: draw_panels(picture) for picture in report.pictures} if figures or "html" in formats else {}
    texts: dict[str, Callable[[], str]] = {
        "html": lambda: to_html(report, drawn),
        "json": report.to_json,
        "md": lambda: to_markdown(report, figures=figures),
        "card": lambda: to_model_card(report),
        "junit": lambda: to_junit(report, fail_on=fail_on),
        "sarif": lambda: to_sarif(report),
    }
    partial: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".report-", dir=folder))
        for name in formats:
            (partial / FILES[name]).write_text(texts[name](), encoding="utf-8")
        if figures:
            (partial / "figures").mkdir()
            for picture in report.pictures:
                text = sheet(picture, [panel.svg for panel in drawn[picture.name].panels])
                (partial / "figures" / f"{picture.name}.svg").write_text(text, encoding="utf-8")
            replace_folder(partial / "figures", folder / "figures")
        for name in formats:
            os.replace(partial / FILES[name], folder / FILES[name])
    except OSError as error:
        reason = error.strerror or error
        text = f"cannot write the report to {folder}: {reason}; nothing half-written was left, free space there or choose another folder"
        raise OSError(error.errno, text) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    written = {name: folder / FILES[name] for name in formats}
    return {**written, "figures": folder / "figures"} if figures else written


def replace_folder(new: Path, old: Path) -> None:
    """Move the files of ``new`` into ``old``, one by one; pictures of other names that stand there are left alone."""
    old.mkdir(exist_ok=True)
    for file in sorted(new.iterdir()):
        os.replace(file, old / file.name)
