"""Measure the defaults: each model and data set over several seeds of split and weights, on the held-out test part.

python scripts/defaults.py [seeds] prints a table in Markdown: mean, standard deviation and lowest score, median and longest seconds, and
the findings that are no hints. A run that crashes ends it, with the run's own error.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import mean, median, stdev

RUNS = (
    ("mlp", "digits", 0.970),
    ("cnn", "digits", 0.985),
    ("mlp", "breast_cancer", 0.96),
    ("mlp", "wine", 0.97),
    ("mlp", "iris", 0.93),
    ("mlp", "diabetes", 0.42),
    ("mlp", "moons", 0.95),
)


Measured = tuple[float, float, list[str]]
HEAD = "| model | data | mean | deviation | lowest | goal | seconds, median | longest | findings |\n|---|---|" + "---:|" * 6 + "---|"


def measure(model: str, data: str, seed: int, folder: str) -> Measured:
    """Score on the test part, seconds, and the findings above the level of hints of one run.

    Raises:
        RuntimeError: The run left no score: it crashed, which ends with the exit status of findings too, or was refused.
    """
    words = [f"+model={model}", f"+data={data}", f"seed={seed}", f"output_dir={folder}", "trainer.accelerator=cpu", "--json"]
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "diagnose", "train", *words], capture_output=True, text=True)
    seconds = time.monotonic() - start
    result = json.loads(done.stdout) if done.stdout.strip() else {}
    score = result.get("headlines", {}).get("R²" if data == "diabetes" else "accuracy")
    if done.returncode not in (0, 1) or score is None:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode} and no score\n{done.stderr.strip()}")
    return float(score), seconds, [f"{f['code']} {f['rule']}" for f in result["findings"] if f["severity"] != "info"]


def row(model: str, data: str, goal: float, runs: Sequence[Measured]) -> tuple[str, bool]:
    """A line of the table, and whether the mean reaches the goal without a finding."""
    scores, seconds = [score for score, _, _ in runs], [taken for _, taken, _ in runs]
    found = sorted({name for _, _, names in runs for name in names})
    spread = stdev(scores) if len(scores) > 1 else float("nan")
    numbers = f"{mean(scores):.4f} | {spread:.4f} | {min(scores):.4f} | {goal} | {median(seconds):.0f} | {max(seconds):.0f}"
    return f"| {model} | {data} | {numbers} | {', '.join(found) or 'none'} |", mean(scores) >= goal and not found


def main(seeds: int) -> int:
    """Print the table; the exit status says whether every mean reaches its goal without a finding."""
    good = True
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        for model, data, goal in RUNS:
            runs = [measure(model, data, seed, folder) for seed in range(2 * seeds if data == "diabetes" else seeds)]
            line, reached = row(model, data, goal, runs)
            print(line, flush=True)
            good = good and reached
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
