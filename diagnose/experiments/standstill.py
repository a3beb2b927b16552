"""Weights that training cannot tell apart or move: a few steps downhill on a copy show which stay as they started."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from diagnose.experiments.sandbox import Sandbox

STEPS = 5
MOVED = 0.01
ALIKE = 1e-3  # of the largest gradient: rounding makes equal units differ by up to 2e-4 after some steps


def equal_units(module: nn.Module) -> bool:
    """Whether all units of a layer have the same weights and gradients."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return _equal(weight) and _treated_alike(weight)


def stand_still(sandbox: Sandbox, layers: Mapping[str, nn.Module], tables: Mapping[str, Tensor]) -> tuple[set[str], list[str], list[str]]:
    """Go on from a first step whose gradients are there: which units or columns stay equal, and which matrices stay at zero.

    Where the last layer starts at zero, nothing before it has a gradient in the first step, so one step says nothing of what starts at
    zero there. Each of `STEPS` steps takes another batch and changes every tensor by `MOVED` in the root mean square, down its gradient
    (under manual optimisation the module's own step does that). Weights are left changed.

    Args:
        sandbox: After the backward pass of a first step.
        layers: Those with a ``weight`` that may have equal units, by name.
        tables: Matrices with a row for each of the things that are told apart, such as embeddings, by name.

    Returns:
        Names of those layers whose units had equal weights and got equal gradients in every step; names of those tables whose columns did,
        of which the last gradient was more than a penalty on the weights; and names of parameters of two axes or more that were zero, whose
        gradient was exactly zero in every step, and that get a gradient once all such parameters (gates too) are drawn at random, as the
        factors of a product do. Where they get none then either, something else keeps them out of the loss, such as a weight of zero that
        rises later: such layers are not among the first either.
    """
    equal = {name: module for name, module in layers.items() if equal_units(module)}
    alike = {name: table for name, table in tables.items() if _equal(table, 1) and _treated_alike(table, 1)}
    zero: dict[str, nn.Parameter] = {}
    if sandbox.module.automatic_optimization:
        zero = {name: p for name, p in sandbox.module.named_parameters() if _still(p) and not p.any()}
    for batch in islice(cycle([*sandbox.batches[1:], sandbox.batches[0]]), STEPS):
        if not equal and not alike and not zero:
            break
        _move(sandbox)
        _gradients(sandbox, batch)
        equal = {name: module for name, module in equal.items() if _treated_alike(module.weight)}
        alike = {name: table for name, table in alike.items() if _treated_alike(table, 1)}
        zero = {name: p for name, p in zero.items() if _still(p)}
    columns = [name for name, table in alike.items() if _wakes(table)]
    if zero:
        with torch.no_grad():
            for p in zero.values():
                p.normal_(std=(p[0].numel() if p.dim() else 1) ** -0.5)
        _gradients(sandbox, sandbox.batches[0])
    asleep = {id(p) for p in zero.values() if not _wakes(p)}
    stuck = [name for name, p in zero.items() if p.dim() > 1 and id(p) not in asleep]  # a bias alone may lie behind inputs that are zero
    return {name for name, module in equal.items() if id(module.weight) not in asleep}, columns, stuck


def _gradients(sandbox: Sandbox, batch: object) -> None:
    sandbox.module.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    loss, _ = sandbox.training_step(sandbox.move(batch))
    if loss is not None and loss.requires_grad and sandbox.module.automatic_optimization:
        loss.backward()  # type: ignore[no-untyped-call]


@torch.no_grad()
def _move(sandbox: Sandbox) -> None:
    for p in sandbox.module.parameters() if sandbox.module.automatic_optimization else ():
        if (g := _gradient(p)) is not None:
            p.sub_(MOVED * g / (g.abs().float().square().mean().sqrt() + 1e-8))


def _gradient(parameter: Tensor) -> Tensor | None:
    g = parameter.grad
    return None if g is None else g.detach().to_dense() if g.is_sparse else g.detach()


def _equal(weight: Tensor, axis: int = 0) -> bool:
    """Whether all slices along an axis are the same."""
    rows = weight.detach().transpose(0, axis)
    return len(rows) > 1 and torch.allclose(rows, rows[:1].expand_as(rows))


def _treated_alike(weight: object, axis: int = 0) -> bool:
    """Whether all slices along an axis get the same gradient."""
    assert isinstance(weight, Tensor)
    g = _gradient(weight)
    if g is None or not g.isfinite().all():
        return False
    g = g.transpose(0, axis)
    return bool(torch.allclose(g, g[:1].expand_as(g), rtol=0.0, atol=max(1e-9, ALIKE * float(g.abs().max()))))


def _still(parameter: Tensor) -> bool:
    g = _gradient(parameter)
    return g is not None and not g.any()


def _wakes(parameter: Tensor) -> bool:
    """Whether a gradient came that is more than a penalty on the weights themselves."""
    g = _gradient(parameter)
    if g is None or not g.any() or not g.isfinite().all():
        return False
    g, w = (torch.view_as_real(t) if t.is_complex() else t for t in (g, parameter.detach()))
    return float(torch.cosine_similarity(g.double().flatten(), w.double().flatten(), dim=0).abs()) < 0.99
