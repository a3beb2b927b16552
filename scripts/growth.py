"""How the cost of a measurement grows with layers and parameters, beside the one kernel that it cannot do without; memory and disk."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diagnose.callbacks import Doctor
from diagnose.callbacks.pace import resident_memory
from diagnose.measure.gradients import combine, norms
from diagnose.measure.updates import Weights
from diagnose.record import EVENTS

SIZES = ((10, 32), (10, 100), (10, 316), (10, 1000), (100, 32), (100, 1000), (1000, 32))  # layers, width
SETTINGS: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "max_epochs": -1,
}


class Stack(lightning.LightningModule):
    """Layers of one width, fitted to their own input."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(*[m for _ in range(layers) for m in (nn.Linear(width, width), nn.ReLU())])

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def milliseconds(call: Callable[[], Any], repeats: int = 7) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def measure(layers: int, width: int) -> dict[str, float]:
    """Milliseconds of the gradient part, of the part that looks at updates, and of the floor: one ``_foreach_norm`` over the gradients."""
    weights = [torch.randn(size) for _ in range(layers) for size in ((width, width), (width,))]
    gradients = [torch.randn_like(w) for w in weights]
    group = [i // 2 for i in range(len(weights))]
    kept = Weights(weights)
    return {
        "layers": layers,
        "parameters": sum(w.numel() for w in weights),
        "floor_ms": milliseconds(lambda: torch._foreach_norm(gradients)),
        "gradients_ms": milliseconds(lambda: combine(norms(gradients).tolist(), group, layers)),
        "updates_ms": milliseconds(lambda: (norms(weights).tolist(), torch.stack(list(kept.moved(kept.copy()))).tolist())),
    }


def sizes(quick: bool = False) -> list[dict[str, float]]:
    """The table of `measure` over sizes."""
    print("\n| layers | parameters | floor, ms | gradients, ms | weights and updates, ms |\n|--:|--:|--:|--:|--:|", flush=True)
    rows = []
    for layers, width in SIZES[:3] if quick else SIZES:
        row = measure(layers, width)
        rows.append(row)
        print(
            f"| {row['layers']} | {row['parameters']:.1e} | {row['floor_ms']:.3f} | {row['gradients_ms']:.3f} | {row['updates_ms']:.3f} |",
            flush=True,
        )
    return rows


def disk(quick: bool = False, layers: int = 100) -> dict[str, float]:
    """Megabytes of the record of 1,000 steps at the default cadence and at every step."""
    steps, megabytes = 200 if quick else 1000, {}
    for name, every in (("default", None), ("every step", 1)):
        with TemporaryDirectory() as folder:
            loader = DataLoader(TensorDataset(torch.randn(64, 8)), batch_size=8)
            doctor = Doctor(every_n_steps=every, record=Path(folder) / "record", probes=False)
            lightning.Trainer(max_steps=steps, callbacks=[doctor], **SETTINGS).fit(Stack(layers, 8), loader)
            megabytes[name] = (Path(folder) / "record" / EVENTS).stat().st_size / 1e6
    default, every_step = megabytes.values()
    print(f"\nRecord of {steps} steps, {layers} layers: {default:.2f} MB, at every step {every_step:.2f} MB.", flush=True)
    return megabytes


def memory(quick: bool = False) -> dict[str, float]:
    """Megabytes that the process holds more at the end than after a fifth of 10,000 steps, without and with `Doctor`."""
    steps, grown = 1000 if quick else 10_000, {}
    for name, callbacks in (("bare", []), ("Doctor()", [Doctor(probes=False)])):
        held: list[float] = []

        class Watch(lightning.Callback):
            def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
                if trainer.global_step in (steps // 5, steps - 1):
                    held.append(resident_memory())  # noqa: B023

        loader = DataLoader(TensorDataset(torch.randn(64, 8)), batch_size=8)
        lightning.Trainer(max_steps=steps, callbacks=[*callbacks, Watch()], **SETTINGS).fit(Stack(4, 8), loader)
        grown[name] = (held[-1] - held[0]) / 1e6
    bare, watched = grown.values()
    print(f"\nMemory grown over the last four fifths of {steps} steps: bare {bare:.1f} MB, Doctor() {watched:.1f} MB.")
    print(f"Most memory held: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB.", flush=True)
    return grown
