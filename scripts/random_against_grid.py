"""Random search against grid search at equal budget, on the digits MLP over learning rate, momentum and width.

    python scripts/random_against_grid.py [--repeats 5] [--epochs 5]

References:
    Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from diagnose.cli.arguments import Arguments
from diagnose.cli.trial import run, settings_of
from diagnose.search.samplers import grid_size
from diagnose.search.space import Dimension, space
from diagnose.search.study import ask, open_study, storage, values
from diagnose.search.values import interval

COMMON = {"optimizer.lr": "log(1e-4, 1)", "optimizer.momentum": "one_minus(0.5, 0.999)"}
GRID = space({**COMMON, "model.hidden": [[16], [64], [256]]})
RANDOM = space({**COMMON, "model.hidden": [[width] for width in np.geomspace(16, 256, 13).round().astype(int).tolist()]})
POINTS = 3


def search(name: str, dimensions: tuple[Dimension, ...], seed: int, budget: int, epochs: int) -> list[float]:
    """The validation loss of each trial at its best epoch, in the order of the trials; infinite where it was never finite."""
    words = ["data=digits", "model=mlp", "optimizer=nesterov", "scheduler=none", f"trainer.max_epochs={epochs}"]
    arguments = Arguments(command="tune", words=words)
    settings = {"mode": "min", "sampler": name, "trials": budget, "points": POINTS, "rounds": 1}
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        study = open_study(storage("", Path(folder)), name, dimensions, settings, seed=seed, prune=False)
        while (trial := ask(study, dimensions, budget)) is not None:
            own = settings_of(arguments, values(trial, dimensions), seed)
            best = run(own, Path(folder), "val/loss", lambda value, epoch: "", stop_on_findings=False).best("min")
            scores.append(best[0] if best else np.inf)
            study.tell(trial, min(scores[-1], 1e6))
    return scores


def main() -> None:
    """Print the best validation loss after a third, two thirds and all of the budget, as mean and 95 % interval over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    budget = grid_size(GRID, POINTS)
    stops = [budget // 3, 2 * budget // 3, budget]
    found = {
        name: np.array([np.minimum.accumulate(search(name, own, seed, budget, options.epochs)) for seed in range(1, options.repeats + 1)])
        for name, own in (("grid", GRID), ("random", RANDOM))
    }
    print(f"best validation loss on digits, {options.repeats} repeats, {options.epochs} epochs a trial: mean [95 % interval]\n")
    print("| trials | " + " | ".join(map(str, stops)) + " |\n|---|" + "---|" * len(stops))
    for name, curves in found.items():
        cells = []
        for stop in stops:
            mean, low, high = interval(curves[:, stop - 1].tolist())
            cells.append(f"{mean:.4f} [{low:.4f}, {high:.4f}]" if low is not None else f"{mean:.4f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    difference = found["random"][:, -1] - found["grid"][:, -1]
    mean, low, high = interval(difference.tolist())
    said = f"{mean:+.4f}" if low is None else f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
    print(f"\nrandom minus grid after all {budget} trials: {said}; lower in {int((difference < 0).sum())} of {options.repeats} repeats")


if __name__ == "__main__":
    main()
