"""The faults of `scripts/mutants.py`, and the changes that do no harm; each is registered in `scripts.mutations.MUTATIONS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader

from scripts.mutations import MUTATIONS as MUTATIONS
from scripts.mutations import (
    WEIGHTED,
    Mutation,
    NotApplicable,
    Program,
    calls,
    layers,
    loader,
    mutation,
    on_optimizer,
    override,
    rate,
    tensors,
    values,
)

ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid)
DIVERGED = (
    *("learning-rate-too-high", "diverging-loss", "non-finite", "loss-not-decreasing", "oscillating-loss"),
    *("exploding-gradient", "dead-units", "saturated-units", "prediction-collapse"),
)

MUTATIONS["rate × 300"] = Mutation("rate × 300", rate(300), DIVERGED)
MUTATIONS["rate / 1000"] = Mutation("rate / 1000", rate(1e-3), ("learning-rate-too-low", "undertrained", "loss-not-decreasing"))
for factor in (0.5, 2.0):
    MUTATIONS[f"rate × {factor:g}, harmless"] = Mutation(f"rate × {factor:g}, harmless", rate(factor))


@mutation("gradients never cleared", "missing-zero-grad")
def _never_cleared(program: Program) -> Program:
    if not program.module.automatic_optimization:
        raise NotApplicable("manual optimisation")
    override(program.module, optimizer_zero_grad=lambda self, *args, **kwargs: None)
    return program


@mutation("gradient clipped to 1e-4", "clipping-dominates")
def _clipped(program: Program) -> Program:
    if not program.module.automatic_optimization:
        raise NotApplicable("manual optimisation")

    def plain(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
        if not isinstance(optimizer, torch.optim.SGD):
            raise NotApplicable("an optimizer that no scale of the gradient matters to")

    return replace(on_optimizer(program, plain), settings={**program.settings, "gradient_clip_val": 1e-4})


@mutation("weight decay of 1", "weight-decay-dominates")
def _decayed(program: Program) -> Program:
    def change(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
        for group in optimizer.param_groups:
            group["weight_decay"] = 100.0 if isinstance(optimizer, torch.optim.AdamW) else 1.0

    return on_optimizer(program, change)


@mutation("half of the layers at a rate of 0", "frozen-parameter", "missing-from-optimizer")
def _half_at_rest(program: Program) -> Program:
    def change(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> Any:
        (group, *others), kind = optimizer.param_groups, type(optimizer)
        if others or schedulers or len(group["params"]) < 4:
            raise NotApplicable("groups, schedules or few parameters")
        rest, half = {key: value for key, value in group.items() if key != "params"}, len(group["params"]) // 2
        return kind([{**rest, "params": group["params"][:half], "lr": 0.0}, {**rest, "params": group["params"][half:]}], lr=rest["lr"])  # type: ignore[call-arg]

    return on_optimizer(program, change)


@mutation("first layer not in the optimizer", "missing-from-optimizer", certain=True)
def _left_out(program: Program) -> Program:
    def change(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
        if len(optimizer.param_groups) > 1 or len(optimizer.param_groups[0]["params"]) < 4:
            raise NotApplicable("groups or few parameters")
        del optimizer.param_groups[0]["params"][:2]

    return on_optimizer(program, change)


@mutation("rate falls by 0.7 per step", "scheduler-mismatch")
def _falls_fast(program: Program) -> Program:
    def change(optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> Any:
        if schedulers:
            raise NotApplicable("a schedule of its own")
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7), "interval": "step"},
        }

    return on_optimizer(program, change)


@mutation("labels of other samples", "misaligned-labels", "overfitting", "cannot-overfit-batch", "loss-not-decreasing")
def _shuffled_labels(program: Program) -> Program:
    inputs, targets = tensors(program.train)
    return replace(program, train=loader(program.train, [inputs, targets[torch.randperm(len(targets))]]))


@mutation("labels rolled by one in the step", "misaligned-labels", "overfitting", "cannot-overfit-batch", "loss-not-decreasing")
def _rolled_labels(program: Program) -> Program:
    step = type(program.module).training_step

    def rolled(self: Any, batch: Any, index: int) -> Any:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise NotApplicable("batches of another form")
        return step(self, [batch[0], batch[1].roll(1, 0)], index)

    override(program.module, training_step=rolled)
    return program


@mutation("inputs × 300 + 1000", "unnormalized-input", certain=True)
def _raw_inputs(program: Program) -> Program:
    inputs, targets = values(program)
    held, held_targets = tensors(program.val)
    train, val = [inputs * 300 + 1000, targets], [held * 300 + 1000, held_targets]
    return replace(program, train=loader(program.train, train), val=loader(program.val, val, shuffle=False))


@mutation("one NaN among the inputs", "non-finite-input", "non-finite", certain=True)
def _one_nan(program: Program) -> Program:
    inputs, targets = values(program)
    inputs[len(inputs) // 3].view(-1)[0] = float("nan")
    return replace(program, train=loader(program.train, [inputs, targets]))


@mutation("half of validation is training", "split-overlap", certain=True)
def _overlapping(program: Program) -> Program:
    train, val = tensors(program.train), tensors(program.val)
    half = max(4, len(val[0]) // 2)
    taken = torch.randperm(len(train[0]))[:half]
    mixed = [torch.cat([v[:-half], t[taken]]) for v, t in zip(val, train, strict=True)]
    return replace(program, val=loader(program.val, mixed, shuffle=False))


@mutation("sorted by class, not shuffled", "unshuffled-train", certain=True)
def _sorted_by_class(program: Program) -> Program:
    inputs, targets = tensors(program.train)
    if targets.dim() != 1 or targets.is_floating_point():
        raise NotApplicable("targets that are no classes")
    order = targets.argsort(stable=True)
    return replace(program, train=loader(program.train, [inputs[order], targets[order]], shuffle=False))


@mutation("all weights 0.1", "poor-initialization", "no-gradient", "dead-units")
def _constant_weights(program: Program) -> Program:
    for layer in layers(program, 2):
        nn.init.constant_(layer.weight, 0.1)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return program


@mutation("weights × 20", "poor-initialization", "initial-loss")
def _huge_weights(program: Program) -> Program:
    with torch.no_grad():
        for layer in layers(program, 2):
            layer.weight.mul_(20)
    return program


@mutation("no activations", "missing-nonlinearity")
def _linear_throughout(program: Program) -> Program:
    found = [(m, name) for m in program.module.modules() for name, child in m.named_children() if isinstance(child, ACTIVATIONS)]
    if not found:
        raise NotApplicable("no activation modules")
    for module, name in found:
        setattr(module, name, nn.Identity())
    return program


@mutation("biases of -20 before ReLU", "dead-units", "no-gradient", "input-independent")
def _dead_units(program: Program) -> Program:
    pairs = [pair for m in program.module.modules() if isinstance(m, nn.Sequential) for pair in zip(m, list(m)[1:], strict=False)]
    found = [layer.bias for layer, after in pairs if isinstance(layer, WEIGHTED) and isinstance(after, nn.ReLU)]
    biases = [bias for bias in found if bias is not None]
    if not biases:
        raise NotApplicable("no ReLU behind a bias")
    for bias in biases:
        nn.init.constant_(bias, -20.0)
    return program


@mutation("dropout of 0.97", "excessive-dropout")
def _much_dropout(program: Program) -> Program:
    found = [m for m in program.module.modules() if isinstance(m, nn.Dropout)]
    if not found:
        raise NotApplicable("no dropout")
    for module in found:
        module.p = 0.97
    return program


@mutation("an activation is detached", "no-gradient", certain=True)
def _detached(program: Program) -> Program:
    layers(program, 3)[1].register_forward_hook(lambda module, args, output: output.detach())
    return program


@mutation("softmax before the cross-entropy", "activation-loss-mismatch", certain=True)
def _softmax_twice(program: Program) -> Program:
    calls(program, "cross_entropy(self(")
    forward = type(program.module).forward
    override(program.module, forward=lambda self, *args: F.softmax(forward(self, *args), 1))
    return program


@mutation("sigmoid before the squared error", "output-range-mismatch")
def _squashed(program: Program) -> Program:
    calls(program, "mse_loss(self(", "l1_loss(self(", "huber_loss(self(")
    forward = type(program.module).forward
    override(program.module, forward=lambda self, *args: torch.sigmoid(forward(self, *args)))
    return program


@mutation("a column against a row", "loss-broadcast", certain=True)
def _broadcast(program: Program) -> Program:
    calls(program, "mse_loss(", "l1_loss(", "huber_loss(")
    targets = tensors(program.train)[1]
    if not targets.is_floating_point() or targets.shape[1:].numel() != 1:
        raise NotApplicable("targets of another form")
    step = type(program.module).training_step

    def turned(self: Any, batch: Any, index: int) -> Any:
        return step(self, [batch[0], batch[1].unsqueeze(1) if batch[1].dim() == 1 else batch[1].squeeze(1)], index)

    override(program.module, training_step=turned)
    return program


@mutation("validation inputs × 3 and shifted", "split-shift")
def _shifted(program: Program) -> Program:
    values(program)
    inputs, targets = tensors(program.val)
    return replace(program, val=loader(program.val, [inputs * 3 + 2 * inputs.std(), targets], shuffle=False))


def batches(factor: float) -> Callable[[Program], Program]:
    """Batches of another size."""

    def change(program: Program) -> Program:
        train = program.train
        whole = isinstance(train, DataLoader) and hasattr(train.dataset, "__len__")
        if not whole or type(train.batch_sampler) is not BatchSampler or train.batch_size is None:
            raise NotApplicable("batches of another making")
        size = max(2, int(train.batch_size * factor))
        other: DataLoader[Any] = DataLoader(
            train.dataset, size, sampler=train.sampler, drop_last=train.drop_last, collate_fn=train.collate_fn
        )
        return replace(program, train=other)

    return change


def epochs(factor: float) -> Callable[[Program], Program]:
    """A run of another length."""

    def change(program: Program) -> Program:
        if "max_epochs" not in program.settings:
            raise NotApplicable("a run of so many steps")
        return replace(program, settings={**program.settings, "max_epochs": max(1, int(program.settings["max_epochs"] * factor))})

    return change


for factor in (0.5, 2.0):
    MUTATIONS[f"batches × {factor:g}, harmless"] = Mutation(f"batches × {factor:g}, harmless", batches(factor))
    MUTATIONS[f"epochs × {factor:g}, harmless"] = Mutation(f"epochs × {factor:g}, harmless", epochs(factor))
