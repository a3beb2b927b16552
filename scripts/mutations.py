"""Faults that can be put into any Lightning program from outside: into its module, its loaders or its Trainer's settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


class NotApplicable(Exception):
    """The program has nothing that this fault could be put into."""


@dataclass(frozen=True)
class Program:
    """What `lightning.Trainer` is given: a module, its loaders, and the Trainer's settings."""

    module: Any
    train: Any
    val: Any
    settings: dict[str, Any]


@dataclass(frozen=True)
class Mutation:
    """A fault, or a harmless change.

    Attributes:
        name: What it is called in the table.
        apply: Gives the changed program; raises `NotApplicable`.
        rules: Names of rules, any of which names it rightly, the cause first; empty for a change that does no harm.
        certain: Whether it is a fault even where training comes to the same end.
    """

    name: str
    apply: Callable[[Program], Program]
    rules: tuple[str, ...] = ()
    certain: bool = False


MUTATIONS: dict[str, Mutation] = {}


def mutation(name: str, *rules: str, certain: bool = False) -> Callable[[Callable[[Program], Program]], Callable[[Program], Program]]:
    """Register a function as the mutation of this name."""

    def register(apply: Callable[[Program], Program]) -> Callable[[Program], Program]:
        MUTATIONS[name] = Mutation(name, apply, rules, certain)
        return apply

    return register


def override(module: Any, **methods: Callable[..., Any]) -> None:
    """Give one module methods of its own, as a subclass would."""
    module.__class__ = type(type(module).__name__, (type(module),), methods)


def optimizers(configured: Any) -> tuple[list[torch.optim.Optimizer], list[Any]]:
    """Optimizers and schedulers in what ``configure_optimizers`` returned."""
    if isinstance(configured, torch.optim.Optimizer):
        return [configured], []
    if isinstance(configured, dict):
        configured = ([configured["optimizer"]], [configured["lr_scheduler"]] if "lr_scheduler" in configured else [])
    if isinstance(configured, (tuple, list)) and len(configured) == 2 and isinstance(configured[0], (list, tuple)):
        return list(configured[0]), [s["scheduler"] if isinstance(s, dict) else s for s in configured[1]]
    if isinstance(configured, (tuple, list)) and all(isinstance(o, torch.optim.Optimizer) for o in configured):
        return list(configured), []
    raise NotApplicable("optimizers in another form")


def on_optimizer(program: Program, change: Callable[[torch.optim.Optimizer, list[Any]], Any]) -> Program:
    """Change the only optimizer when it is configured; what ``change`` returns takes the place of what was configured."""
    configure = type(program.module).configure_optimizers

    def changed(self: Any) -> Any:
        configured = configure(self)
        found, schedulers = optimizers(configured)
        if len(found) != 1:
            raise NotApplicable(f"{len(found)} optimizers")
        return change(found[0], schedulers) or configured

    override(program.module, configure_optimizers=changed)
    return program


def rate(factor: float) -> Callable[[Program], Program]:
    """The learning rate times a factor, and that of its schedule."""

    def change(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
        for group in optimizer.param_groups:
            group |= {key: group[key] * factor for key in ("lr", "initial_lr", "max_lr", "min_lr") if key in group}
        for scheduler in schedulers:
            for name in ("base_lrs", "_last_lr"):
                if hasattr(scheduler, name):
                    setattr(scheduler, name, [value * factor for value in getattr(scheduler, name)])

    return lambda program: on_optimizer(program, change)


def tensors(loader: Any) -> list[Tensor]:
    """Inputs and targets of a loader of pairs, each in one tensor."""
    if not isinstance(loader, DataLoader) or not hasattr(loader.dataset, "__len__") or loader.batch_size is None:
        raise NotApplicable("no loader of single samples")
    rows = [loader.dataset[i] for i in range(len(loader.dataset))]
    try:
        columns = [torch.stack([torch.as_tensor(row[k]) for row in rows]) for k in range(len(rows[0]))]
    except (TypeError, KeyError, RuntimeError) as error:
        raise NotApplicable("samples of another form") from error
    if len(columns) != 2:
        raise NotApplicable(f"samples of {len(columns)} parts")
    return columns


def loader(like: DataLoader[Any], columns: Sequence[Tensor], shuffle: bool | None = None) -> DataLoader[Any]:
    """A loader of other data."""
    shuffle = isinstance(like.sampler, RandomSampler) if shuffle is None else shuffle
    return DataLoader(TensorDataset(*columns), like.batch_size, shuffle, drop_last=like.drop_last, collate_fn=like.collate_fn)


def values(program: Program) -> tuple[Tensor, Tensor]:
    """Inputs and targets of training, whose inputs are numbers."""
    inputs, targets = tensors(program.train)
    if not inputs.is_floating_point():
        raise NotApplicable("inputs that are no numbers")
    return inputs, targets


def layers(program: Program, least: int) -> list[Any]:
    """The layers with weights that are trained, at least so many."""
    found = [layer for layer in program.module.modules() if isinstance(layer, WEIGHTED) and layer.weight.requires_grad]
    if len(found) < least or any(isinstance(p, nn.parameter.UninitializedParameter) for layer in found for p in layer.parameters()):
        raise NotApplicable(f"{len(found)} layers")
    return found


def calls(program: Program, *texts: str) -> None:
    """Refuse programs whose ``training_step`` has none of these texts."""
    source = inspect.getsource(type(program.module).training_step)
    if not any(text in source for text in texts):
        raise NotApplicable("another loss")
