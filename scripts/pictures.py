"""Makes the pictures of the README again: trains with a learning rate that is too low, and with the usual one, and photographs both.

    python scripts/pictures.py [FOLDER]      # by default docs/pictures

Chromium is needed, and the development environment (``pip install -e .[dev]``).
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser import Page, browser  # noqa: E402

COLUMNS = 96
FAULTY = ("train", "+model=mlp", "optimizer.lr=1e-6", "trainer.max_epochs=10")
HEALTHY = ("train", "+model=cnn", "trainer.max_epochs=8", "layers=[net.2,net.9,net.16]")
PAGE = """<!doctype html><meta charset="utf-8"><style>{stylesheet}
body {{ color: {foreground}; background: {background}; margin: 0; padding: 18px 22px; width: max-content; }}
pre {{ margin: 0; font: 14px/1.4 "DejaVu Sans Mono", monospace; }}</style><body><pre>{code}</pre>"""


def train(arguments: tuple[str, ...], folder: Path) -> str:
    """Run a command; what it prints, as the terminal gets it."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "diagnose", *arguments, f"hydra.run.dir={folder}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder.parent)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout.replace(str(folder), "outputs/train/latest")


def terminal(arguments: tuple[str, ...], printed: str) -> str:
    """A terminal as a page."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ python -m diagnose {' '.join(arguments)}", "bold"))
    lines = list(Text.from_ansi(printed).split("\n"))
    moving = [line for line in lines if line.plain.startswith("training, epochs")]  # of the progress bar, its end
    console.print(Text("\n").join(line for line in lines if line not in moving[:-1] and not line.plain.startswith("`Trainer")))
    return console.export_html(code_format=PAGE, theme=DIMMED_MONOKAI)


def photograph(page: Page, file: Path, box: list[float], scale: float = 1.0) -> None:
    """A part of the open page: left, top, width, height."""
    clip = {**dict(zip(("x", "y", "width", "height"), box, strict=True)), "scale": scale}
    answer = page.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    file.write_bytes(base64.b64decode(answer["data"]))
    print(f"{file}  {file.stat().st_size / 1000:.0f} kB")


def bounds(page: Page, first: str, last: str) -> list[float]:
    """The box from the upper edge of one element to the lower edge of another, as wide as the page."""
    top, bottom = (
        page.evaluate(f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect(); return r.{edge} + scrollY; }})()")
        for selector, edge in ((first, "top"), (last, "bottom"))
    )
    return [0, max(0, top - 12), page.evaluate("document.documentElement.clientWidth"), bottom - top + 24]


def main() -> None:
    """Make all of them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser() as page:
        place = Path(scratch)
        (place / "terminal.html").write_text(terminal(FAULTY, train(FAULTY, place / "faulty")), encoding="utf-8")
        train(HEALTHY, place / "healthy")
        page.look(width=1100, height=760)
        page.open(place / "terminal.html")
        width, height = page.evaluate("[document.body.offsetWidth, document.body.offsetHeight]")
        photograph(page, folder / "terminal.png", [0, 0, width, height])
        page.open(place / "faulty" / "report.html")
        photograph(page, folder / "report.png", [0, 0, 1100, 900])
        page.open(place / "healthy" / "report.html")
        photograph(page, folder / "layers.png", bounds(page, "#layers", "#layers figure"), 0.8)


if __name__ == "__main__":
    main()
