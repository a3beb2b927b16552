"""What watching costs: the time of a training under each callback over the time of the same training without.

    python scripts/benchmark.py [--steps 300] [--rounds 5] [--only GLOB] [--json FILE]

All ways to train stand in one round, one after the other in turning order, so that a slow minute of the machine meets all of them; the
ratio is taken within a round, the table shows the median of the rounds. *Step* is the median time between two batches; *fit* is the
whole ``trainer.fit``, with what a callback does once at its start and end. *Same weights* says whether training ended in the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diagnose.callbacks import ActivationMonitor, Doctor, GradientMonitor

SAMPLES = 2048


class Classifier(lightning.LightningModule):
    """Any network under cross-entropy and Adam."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Encoder(nn.Module):
    """A transformer of four layers over 64 tokens, and a mean over them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 128)
        layer = nn.TransformerEncoderLayer(128, nhead=4, dim_feedforward=256, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=4)
        self.head = nn.Linear(128, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Class scores, shape ``(n, 10)``, of tokens, shape ``(n, 64)``."""
        scores: Tensor = self.head(self.encoder(self.embed(tokens)).mean(1))
        return scores


def mlp(depth: int, width: int) -> nn.Module:
    """``depth`` hidden layers of ``width`` units over 64 features."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(64 if i == 0 else width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn() -> nn.Module:
    """Three convolutions with batch norm over 16 × 16 pictures."""
    layers: list[nn.Module] = []
    for a, b in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4, 10))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], int]] = {
    "MLP 4 × 128, batch 64": (lambda: mlp(4, 128), lambda: torch.randn(SAMPLES, 64), 64),
    "MLP 6 × 1024, batch 256": (lambda: mlp(6, 1024), lambda: torch.randn(SAMPLES, 64), 256),
    "CNN 3 layers, batch 64": (cnn, lambda: torch.randn(SAMPLES, 1, 16, 16), 64),
    "transformer 4 layers, batch 32": (Encoder, lambda: torch.randint(100, (SAMPLES, 64)), 32),
}
WAYS: dict[str, Callable[[], list[lightning.Callback]]] = {
    "bare": lambda: [],
    "Doctor()": lambda: [Doctor()],
    "Doctor(every_n_steps=1)": lambda: [Doctor(every_n_steps=1)],
    "GradientMonitor()": lambda: [GradientMonitor()],
    "ActivationMonitor()": lambda: [ActivationMonitor()],
}


class Clock(lightning.Callback):
    """The moments at which batches start."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.moments.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Median seconds from one batch to the next, without the first ten."""
        gaps = [b - a for a, b in zip(self.moments[10:], self.moments[11:], strict=False)]
        return statistics.median(gaps)


def train(model: str, way: str, steps: int) -> tuple[float, float, str]:
    """Seconds per step, seconds of the whole fit, and a digest of the final weights."""
    net, inputs, batch_size = MODELS[model]
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(inputs(), torch.randint(10, (SAMPLES,))), batch_size=batch_size, shuffle=True)
    module, clock = Classifier(net()), Clock()
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock, *WAYS[way]()],
    )
    start = time.perf_counter()
    trainer.fit(module, loader)
    seconds = time.perf_counter() - start
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        digest.update(value.numpy().tobytes())
    return clock.step, seconds, digest.hexdigest()


def compare(model: str, steps: int, rounds: int) -> dict[str, dict[str, Any]]:
    """The figures of every way to train one model."""
    for way in WAYS:
        train(model, way, 12)  # what is done once per process
    runs: dict[str, list[tuple[float, float, str]]] = {way: [] for way in WAYS}
    names = list(WAYS)
    for r in range(rounds):
        for way in names[r % len(names) :] + names[: r % len(names)]:
            runs[way].append(train(model, way, steps))
    bare = runs["bare"]

    def ratio(way: str, which: int) -> float:
        pairs = zip(runs[way], bare, strict=True)
        return round(statistics.median(float(run[which]) / float(plain[which]) for run, plain in pairs), 3)

    return {
        way: {
            "step_ms": round(1000 * statistics.median(run[0] for run in runs[way]), 3),
            "step_ratio": ratio(way, 0),
            "fit_seconds": round(statistics.median(run[1] for run in runs[way]), 3),
            "fit_ratio": ratio(way, 1),
            "same_weights": {run[2] for run in runs[way]} == {bare[0][2]},
        }
        for way in WAYS
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="training steps of one fit (at least 12)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="*", metavar="GLOB", help="models whose name matches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)

    figures = {model: compare(model, args.steps, args.rounds) for model in MODELS if fnmatch(model, args.only)}
    print("| model | training with | ms per step | × bare | fit, s | × bare | same weights |\n|---|---|--:|--:|--:|--:|---|")
    for model, ways in figures.items():
        for way, f in ways.items():
            same = "yes" if f["same_weights"] else "NO"
            print(f"| {model} | {way} | {f['step_ms']} | {f['step_ratio']} | {f['fit_seconds']} | {f['fit_ratio']} | {same} |")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(not all(f["same_weights"] for ways in figures.values() for f in ways.values()))


if __name__ == "__main__":
    sys.exit(main())
