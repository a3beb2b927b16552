"""Measure the defaults: each model and data set over several seeds of split and weights, on the held-out test part.

python scripts/defaults.py [seeds] prints a table in Markdown: the mean with its standard error, seconds of the slowest run, findings that
are no hints.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from math import sqrt
from statistics import mean, stdev

RUNS = (
    ("mlp", "digits", 0.970),
    ("cnn", "digits", 0.985),
    ("mlp", "breast_cancer", 0.96),
    ("mlp", "wine", 0.97),
    ("mlp", "iris", 0.93),
    ("mlp", "diabetes", 0.42),
    ("mlp", "moons", 0.95),
)


def measure(model: str, data: str, seed: int, folder: str) -> tuple[float, float, list[str]]:
    """Score on the test part, seconds, and the findings above the level of hints of one run."""
    words = [f"+model={model}", f"+data={data}", f"seed={seed}", f"output_dir={folder}", "trainer.accelerator=cpu", "--json"]
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "diagnose", "train", *words], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    result = json.loads(done.stdout)
    score = result["headlines"]["R²" if data == "diabetes" else "accuracy"]
    bad = [f"{f['code']} {f['rule']}" for f in result["findings"] if f["severity"] != "info"]
    return float(score), time.monotonic() - start, bad


def main(seeds: int) -> int:
    """Print the table; the exit status says whether every mean reaches its goal without a finding."""
    failed = 0
    print("| model | data | score | goal | seconds | findings |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model, data, goal in RUNS:
            runs = [measure(model, data, seed, folder) for seed in range(2 * seeds if data == "diabetes" else seeds)]
            scores, found = [score for score, _, _ in runs], sorted({name for _, _, names in runs for name in names})
            error = stdev(scores) / sqrt(len(scores)) if len(scores) > 1 else float("nan")
            slowest = max(seconds for _, seconds, _ in runs)
            failed += mean(scores) < goal or bool(found)
            said = ", ".join(found) or "none"
            print(f"| {model} | {data} | {mean(scores):.4f} ± {error:.4f} | {goal} | {slowest:.0f} | {said} |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
