"""All that watching could change in a training, taken down part by part, with and without callbacks."""

from __future__ import annotations

import hashlib
import inspect
import pickle
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils.data import DataLoader

import diagnose.callbacks
from diagnose.callbacks.loggers import PREFIX
from diagnose.callbacks.monitor import Monitor
from diagnose.callbacks.watching import Watching

QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "enable_model_summary": False}


def watchers(every_n_steps: int | None = None) -> list[lightning.Callback]:
    """One of each callback that watches; the monitors raise what fails in them, so that none passes by having switched itself off."""
    made: list[lightning.Callback] = []
    for name in diagnose.callbacks.__all__:
        kind: Any = getattr(diagnose.callbacks, name)
        if inspect.isclass(kind) and issubclass(kind, Monitor):
            made.append(kind(every_n_steps=every_n_steps, strict=True))
        elif inspect.isclass(kind) and issubclass(kind, Watching):
            made.append(getattr(diagnose.callbacks, name)())
    return made


def without(states: dict[str, Any]) -> dict[str, Any]:
    """The states of callbacks in a checkpoint without those of ours, and without the clock's."""
    ours = (*diagnose.callbacks.__all__, "Timer")
    return {key: state for key, state in states.items() if not key.startswith(ours)}


class Counting(DataLoader[Any]):
    """A loader that counts the batches it gives."""

    drawn = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            self.drawn += 1
            yield batch


class Remembering(Logger):
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "remembering"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if users := {name: value for name, value in metrics.items() if not name.startswith(PREFIX)}:
            self.told.append((step, users))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def flat(value: Any) -> Iterator[bytes]:
    """Any nested value as bytes, bit for bit."""
    if isinstance(value, (UninitializedBuffer, UninitializedParameter)):
        yield b"uninitialized"
    elif isinstance(value, Tensor):
        value = value.detach().coalesce().to_dense() if value.is_sparse else value.detach()
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
    elif isinstance(value, np.ndarray):
        yield value.tobytes()
    elif isinstance(value, dict):
        for key in value:
            yield repr(key).encode()
            yield from flat(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    elif hasattr(value, "__dict__"):
        yield type(value).__qualname__.encode()
        yield from flat({k: v for k, v in vars(value).items() if not callable(v)})
    else:
        yield repr(value).encode()


def digest(value: Any) -> str:
    total = hashlib.sha256()
    for part in flat(value):
        total.update(part + b"\0")
    return total.hexdigest()[:16]


@dataclass
class Run:
    """One run of a job: it makes the Trainers, with callbacks or without, and takes down what came out of each.

    Attributes:
        callbacks: Those that watch.
        folder: An empty one for checkpoints.
        parts: What came out: name of the part → digest.
    """

    callbacks: Sequence[lightning.Callback]
    folder: Path
    parts: dict[str, str] = field(default_factory=dict)
    loaders: list[Counting] = field(default_factory=list)
    loggers: list[Remembering] = field(default_factory=list)

    def loader(self, data: Any, **options: Any) -> Counting:
        self.loaders.append(Counting(data, **options))
        return self.loaders[-1]

    def trainer(self, *own: lightning.Callback, **settings: Any) -> lightning.Trainer:
        self.loggers.append(Remembering())
        defaults = {**QUIET, "max_epochs": 2, "logger": self.loggers[-1], "enable_checkpointing": False, "log_every_n_steps": 2}
        return lightning.Trainer(**{**defaults, "default_root_dir": self.folder, **settings}, callbacks=[*own, *self.callbacks])

    def fit(self, module: lightning.LightningModule, train: Any, val: Any = None, *own: lightning.Callback, **settings: Any) -> Any:
        trainer = self.trainer(*own, **settings)
        trainer.fit(module, train, val)
        self.note(trainer, module)
        return trainer

    def note(self, trainer: lightning.Trainer, module: Any) -> None:
        """Take down everything, now."""
        place = f"{len(self.parts)}: "
        checkpoint = self.folder / "noted.ckpt"
        if trainer.state.fn == "fit":
            trainer.save_checkpoint(checkpoint)
            content = torch.load(checkpoint, weights_only=True)  # so it holds nothing but plain values
            content["callbacks"] = without(content["callbacks"])
        else:
            content = {}
        found = {
            "weights and buffers": module.state_dict(),
            "gradients": [p.grad for p in module.parameters()],
            "modes": [(name, child.training) for name, child in module.named_modules()],
            "flags": [p.requires_grad for p in module.parameters()],
            "optimizers": [o.state_dict() for o in trainer.optimizers],
            "schedulers": [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs],
            "random numbers, python": random.getstate(),
            "random numbers, numpy": pickle.dumps(np.random.get_state()),
            "random numbers, torch": torch.get_rng_state(),
            "metrics": {name: value for name, value in trainer.callback_metrics.items() if not name.startswith(PREFIX)},
            "logged": [logger.told for logger in self.loggers],
            "checkpoint": content,
            "steps": (trainer.global_step, trainer.current_epoch),
            "batches drawn": [loader.drawn for loader in self.loaders],
            "batches seen": getattr(module, "seen", []),
            "defaults": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()),
        }
        self.parts |= {place + name: digest(value) for name, value in found.items()}


def outcome(job: Callable[[Run], None], callbacks: Sequence[lightning.Callback], folder: Path) -> dict[str, str]:
    """What comes out of a job, from the same seeds every time, in the same folder, which is emptied: its name stands in checkpoints."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    run = Run(callbacks, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on tiny trainings
        job(run)
    return run.parts


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """The parts in which two outcomes differ."""
    return [name for name in {**first, **second} if first.get(name) != second.get(name)]


def left_behind(modules: Iterable[nn.Module]) -> list[str]:
    """Hooks that stand on any module, its parameters or on torch itself."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    found = [f"{type(m).__name__}.{name}" for top in modules for m in top.modules() for name in hooks if getattr(m, name)]
    found += [f"hook of a {tuple(p.shape)} parameter" for top in modules for p in top.parameters() if p._backward_hooks]
    if torch._C._len_torch_function_stack():
        found.append("a function mode")
    return found
