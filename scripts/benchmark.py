"""What watching costs: the time of a training under each callback over the time of the same training without.

    python scripts/benchmark.py [--only NAME ...] [--ways NAME ...] [--seconds 4] [--rounds 3] [--quick] [--json FILE]

All ways to train stand in one round, one after the other in turning order, so that a slow minute of the machine meets all of them; the
ratio is taken within a round, the table shows the median of the rounds, and grows while they run. *Step* is the mean time of a batch after
the first twelve, *fit* the whole ``trainer.fit`` with what is done once at its start and end. *CPU* is the time of the process, which other
processes disturb less than that of the clock. *Least* takes each batch where it was fastest: its CPU time is the least of the rounds, and
the ratio is that of the sums over all batches. What a busy machine adds comes and goes, what the work itself takes is there in every round;
with eight rounds or more the figure holds on a machine that is not quiet. *Same weights* says whether training ended in the same bits. The
last row of a model is the floor: what one ``torch._foreach_norm`` over its gradients would cost at each step. ``--only`` takes names or
globs of models, and ``jobs`` (all of them, as by default), ``growth`` (how a measurement grows with layers and parameters), ``record``
(what it takes on disk) and ``memory`` (whether it grows over 10,000 steps), all from `scripts/growth.py`. ``--ways`` leaves all other ways
to train out, apart from the bare one, so that there is time for more rounds. ``--quick`` is one round of short trainings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import grad_norm
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diagnose.callbacks import Doctor
from scripts import growth

SAMPLES = 2048
FIELDS = ("step", "step_cpu", "least", "fit", "fit_cpu")


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


class GradNorm(lightning.Callback):
    """Lightning's own way: every gradient norm is logged at each step."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        pl_module.log_dict(grad_norm(pl_module, norm_type=2))


class Histograms(lightning.Callback):
    """What ``wandb.watch`` and TensorBoard users do: histograms of weights and gradients every 100 steps."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step % 100 == 0:
            for name, parameter in pl_module.named_parameters():
                trainer.logger.experiment.add_histogram(name, parameter.detach(), trainer.global_step)
                trainer.logger.experiment.add_histogram(f"{name}.grad", parameter.grad, trainer.global_step)


class Items(lightning.Callback):
    """The loop that many projects have: ``.item()`` of each parameter's gradient norm at each step."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.norms = {name: p.grad.norm().item() for name, p in pl_module.named_parameters() if p.grad is not None}


WAYS: dict[str, Callable[[], list[lightning.Callback]]] = {
    "bare": lambda: [],
    "Doctor()": lambda: [Doctor()],
    "Doctor(every_n_steps=1)": lambda: [Doctor(every_n_steps=1)],
    "grad_norm logged each step": lambda: [GradNorm()],
    "histograms every 100 steps": lambda: [Histograms()],
    ".item() per parameter": lambda: [Items()],
}
LOGGED = ("grad_norm logged each step", "histograms every 100 steps")  # these need a logger: TensorBoard's


class Clock(lightning.Callback):
    """The moments at which batches start: of the clock and of the process."""

    def __init__(self) -> None:
        self.moments: list[tuple[float, float]] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.moments.append((time.perf_counter(), time.process_time()))

    def batches(self, which: int) -> list[float]:
        """Seconds from one batch to the next, without the first twelve, each of which is measured."""
        moments = [m[which] for m in self.moments[12:]]
        return [after - before for before, after in pairwise(moments)]


@dataclass(frozen=True, slots=True)
class Fit:
    """Seconds of a mean batch, of the whole fit (by the clock and of the process) and of each batch, and a digest of the final weights."""

    step: float
    step_cpu: float
    fit: float
    fit_cpu: float
    batches_cpu: list[float]
    weights: str


def train(model: str, way: str, steps: int) -> Fit:
    """Train one model in one way."""
    net, inputs, batch_size = MODELS[model]
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(inputs(), torch.randint(10, (SAMPLES,))), batch_size=batch_size, shuffle=True)
    module, clock = Classifier(net()), Clock()
    with TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            logger=TensorBoardLogger(folder) if way in LOGGED else False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[clock, *WAYS[way]()],
        )
        start, cpu = time.perf_counter(), time.process_time()
        trainer.fit(module, loader)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        digest.update(value.numpy().tobytes())
    wall, own = clock.batches(0), clock.batches(1)
    mean = [sum(times) / len(times) if times else math.nan for times in (wall, own)]
    return Fit(mean[0], mean[1], seconds, cpu_seconds, own, digest.hexdigest())


def floor(model: str) -> float:
    """Milliseconds of CPU time of one ``_foreach_norm`` over the gradients of a model."""
    net, inputs, batch_size = MODELS[model]
    module = net()
    module(inputs()[:batch_size]).sum().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return growth.milliseconds(lambda: torch._foreach_norm(gradients), repeats=30)


def compare(model: str, names: list[str], seconds: float, rounds: int) -> dict[str, dict[str, Any]]:
    """The figures of these ways to train one model, ``bare`` among them; each fit takes about so many seconds."""
    for way in names:
        train(model, way, 2)  # what is done once per process
    steps = max(40, min(1000, int(seconds / train(model, "bare", 20).step)))
    runs: dict[str, list[Fit]] = {way: [] for way in names}
    for r in range(rounds):
        for way in names[r % len(names) :] + names[: r % len(names)]:
            runs[way].append(train(model, way, steps))
    bare = runs["bare"]

    def ratio(way: str, field: str) -> float:
        pairs = zip(runs[way], bare, strict=True)
        return round(statistics.median(float(getattr(run, field)) / float(getattr(plain, field)) for run, plain in pairs), 3)

    def least(way: str) -> float:
        total: float = sum(map(min, zip(*(run.batches_cpu for run in runs[way]), strict=True)))
        return total

    figures = {
        way: {
            "steps": steps,
            "step_ms": round(1000 * statistics.median(run.step_cpu for run in runs[way]), 3),
            **{f"{field}_ratio": round(least(way) / least("bare"), 3) if field == "least" else ratio(way, field) for field in FIELDS},
            "same_weights": {run.weights for run in runs[way]} == {bare[0].weights},
        }
        for way in names
    }
    lowest = floor(model)
    share = round(1 + lowest / figures["bare"]["step_ms"], 3)
    return {
        **figures,
        "floor": {"steps": steps, "step_ms": round(lowest, 3), "step_ratio": share, "step_cpu_ratio": share, "least_ratio": share},
    }


def row(model: str, way: str, figures: dict[str, Any]) -> str:
    """One row of the table."""
    ratios = " | ".join(f"{figures[f'{field}_ratio']:.3f}" if f"{field}_ratio" in figures else "" for field in FIELDS)
    same = {True: "yes", False: "NO"}.get(figures.get("same_weights", ""), "")
    return f"| {model} | {way} | {figures['steps']} | {figures['step_ms']} | {ratios} | {same} |"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["jobs"], metavar="NAME", help="models by name or glob, jobs, growth, record, memory")
    parser.add_argument("--ways", nargs="+", default=["*"], metavar="NAME", help="ways to train by name or glob; bare is always one")
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long one fit takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one round of short trainings, small sizes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(args.threads)
    seconds, rounds = (0.5, 1) if args.quick else (args.seconds, args.rounds)
    models = [name for name in MODELS if any(only == "jobs" or fnmatch(name, only) for only in args.only)]
    parts: dict[str, Callable[[bool], Any]] = {"growth": growth.sizes, "record": growth.disk, "memory": growth.memory}
    wrong = [only for only in args.only if only not in ("jobs", *parts) and not any(fnmatch(name, only) for name in MODELS)]
    if wrong:
        parser.error(f"--only: expected models ({', '.join(MODELS)}), jobs, growth, record or memory, got {wrong[0]!r}")
    wrong = [one for one in args.ways if not any(fnmatch(name, one) for name in WAYS)]
    if wrong:
        parser.error(f"--ways: expected some of {', '.join(WAYS)}, got {wrong[0]!r}")
    names = ["bare", *(name for name in WAYS if name != "bare" and any(fnmatch(name, one) for one in args.ways))]

    figures: dict[str, Any] = {"cores": os.cpu_count(), "threads": args.threads, "load": os.getloadavg()[0]}
    print(f"{figures['cores']} CPU cores, {args.threads} used, load {figures['load']:.1f} at the start", flush=True)
    if models:
        ratios = "× bare | × bare, CPU | × bare, least | fit × bare | fit × bare, CPU"
        print(f"\n| model | training with | steps | CPU ms per step | {ratios} | same weights |")
        print("|---|---|--:|--:|--:|--:|--:|--:|--:|---|", flush=True)
    watched = []
    for model in models:
        figures[model] = compare(model, names, seconds, rounds)
        watched += [f for way, f in figures[model].items() if "Doctor" in way]
        for way, found in figures[model].items():
            print(row(model, way, found), flush=True)
    for name, part in parts.items():
        if name in args.only:
            figures[name] = part(args.quick)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(not all(f["same_weights"] for f in watched))


if __name__ == "__main__":
    sys.exit(main())
