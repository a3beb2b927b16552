"""The network before its first step: its loss against chance, and the scale of its weights and signals from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.baselines import chance, uniform
from diagnose.experiments.batches import changed
from diagnose.experiments.hooking import hooked
from diagnose.experiments.products import Products, matrices, rms
from diagnose.experiments.sandbox import Sandbox
from diagnose.experiments.standstill import stand_still
from diagnose.measure.calls import WatchCalls
from diagnose.measure.graph import frozen_head
from diagnose.measure.losses import LossCall
from diagnose.measure.watched_losses import watch_losses
from diagnose.record import Record

BATCHES = 6
WEIGHTED = (nn.Linear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


def initial_loss(sandbox: Sandbox, record: Record) -> None:
    """The loss before the first step, in training mode, over a few batches.

    Writes ``probe.initial_loss``: ``loss`` (of the primary loss call), ``total`` (of the step), ``prior`` (entropy of the class shares,
    variance of the targets ...), ``uniform`` (ln C, where there are classes), ``chance`` (the larger of the two), ``ratio`` (loss over
    that), ``kind``, ``classes``, ``batches``, ``frozen`` (the last layer is not trained), and for regression ``prediction_std``,
    ``target_rms``, ``prediction_mean``, ``target_mean`` and ``shift`` (distance of the means of predictions and targets, in standard
    deviations of the targets; `None` where these are equal).
    """
    sandbox.reset()
    calls_of: list[tuple[LossCall, float]] = []
    frozen = False
    for index, batch in enumerate(sandbox.batches[: BATCHES if sandbox.module.automatic_optimization else 1]):
        torch.manual_seed(index)
        with watch_losses() as watch:
            loss, _ = sandbox.training_step(sandbox.move(batch), index)
        call = watch.primary(loss)
        if call is not None and call.value is not None and call.value.numel() == 1:
            total = float(loss) if loss is not None else float(call.value)
            frozen = frozen_head(call.input)
            calls_of.append((replace(call, input=call.input.detach(), value=call.value.detach()), total))
    sandbox.reset()
    if not calls_of:
        record.skip("probe.initial_loss", "no loss with one value was found")
        return
    first = calls_of[0][0]
    reference = [known for c, _ in calls_of if (known := chance(c)) is not None]
    odds = [known for c, _ in calls_of if (known := uniform(c)) is not None]
    even = sum(odds) / len(odds) if odds else None
    if not reference or str(first.options.get("reduction")) != "mean" or first.kind == "poisson_nll_loss":
        why = "the loss is a sum, so chance has no fixed value" if reference else f"what chance gives is not known for {first.kind}"
        if first.kind in ("poisson_nll_loss", "gaussian_nll_loss"):
            why = f"{first.kind} may be below zero, so its ratio to chance says nothing"
        record.skip("probe.initial_loss", why)
        return
    value = sum(float(c.value) for c, _ in calls_of if c.value is not None) / len(calls_of)
    base = max(sum(reference) / len(reference), even or 0.0)
    if even is not None and value > base and _labels_enter(sandbox, first):
        record.skip("probe.initial_loss", "the scores are made with the labels (a margin, for example), so chance has no fixed value")
        return
    fact: dict[str, Any] = {"loss": value, "total": sum(t for _, t in calls_of) / len(calls_of), "chance": base, "uniform": even}
    fact |= {"ratio": value / base if base > 0 else math.nan, "kind": first.kind, "batches": len(calls_of)}
    fact |= {"prior": sum(reference) / len(reference), "frozen": frozen}
    fact["classes"] = first.input.shape[1] if first.kind in ("cross_entropy", "nll_loss") and first.input.dim() > 1 else None
    if even is None and first.target is not None:
        fact |= {
            "prediction_std": float(first.input.float().std(correction=0)),
            "target_rms": float(first.target.float().square().mean().sqrt()),
            "prediction_mean": float(first.input.float().mean()),
            "target_mean": float(first.target.float().mean()),
            "shift": _shift(first.input, first.target),
        }
    record.add("probe.initial_loss", fact)


def _labels_enter(sandbox: Sandbox, first: LossCall) -> bool:
    """Whether other labels give the first batch other scores, as a margin on the score of the true class does."""
    batch = sandbox.batches[0]
    target = first.target
    if target is None or target.is_floating_point():
        return False

    def scores(turned: int) -> Tensor | None:
        def other(tensor: Tensor) -> Tensor:
            labels = tensor.shape == target.shape and not tensor.is_floating_point() and torch.equal(tensor.to(target), target)
            return tensor.roll(turned, 0) if labels and turned else tensor

        torch.manual_seed(0)
        with watch_losses() as watch:
            loss, _ = sandbox.training_step(sandbox.move(changed(batch, other)))
        sandbox.reset()
        call = watch.primary(loss)
        return None if call is None else call.input.detach()

    before, again, after = scores(0), scores(0), scores(1)
    if before is None or again is None or after is None or not torch.equal(before, again):
        return False
    return before.shape != after.shape or not torch.allclose(before, after, rtol=1e-4, atol=1e-6)


def _shift(values: Tensor, target: Tensor) -> float | None:
    """Root of the squared distances of the means over the variances of the targets, both summed over the outputs of a sample."""
    columns = target.detach().double().reshape(len(target), -1) if target.dim() else target.detach().double().reshape(1, 1)
    means = values.detach().double().reshape(len(values), -1).mean(0) if values.dim() else values.detach().double().reshape(1)
    variance = float(columns.var(0, correction=0).sum())
    if variance <= 0 or means.shape != columns.shape[1:]:
        return None
    return math.sqrt(float((means - columns.mean(0)).square().sum()) / variance)


def signal_scale(sandbox: Sandbox, record: Record) -> None:
    """The scale of weights and signals in each layer of a first forward pass, and weights whose units are copies of each other.

    Writes ``probe.initialization``: a list with, per linear, convolution or embedding layer, and per module of the user's with a matrix of
    its own (per matrix, where it multiplies with several), in forward order, ``kind`` (``weighted``; ``own``; ``product``; ``embedding``,
    whose ``input_std`` is 1), ``calls`` and ``last_std`` (how often it ran in the pass, and the scale of what it gave last), ``name``,
    ``fan_in``, ``fan_out``, ``gain`` (weight standard deviation times the square root of the fan-in; 1.41 for He, 1 for LeCun, 0.58 for
    torch's default), ``output_std``, ``input_std``, ``symmetric`` (all units start with the same weights and get the same gradient in a few
    steps), ``zero`` (all weights are zero), ``normalised`` (a norm follows), ``last``. Dropout modules are left out: what they tell apart
    in one step is noise.

    And ``probe.matrices``: ``name``, ``size`` and ``gain`` of square matrices that the user's modules hold themselves besides;
    ``probe.alike``: names of embeddings and of matrices of the user's own of which all columns start equal and stay so (`stand_still`); and
    ``probe.stuck``: names of parameters that start at zero and get no gradient but zero in a few steps.

    References:
        X. Glorot and Y. Bengio (2010), equation 12; K. He et al. (2015), equation 10.
    """
    sandbox.reset()
    layers: dict[str, dict[str, Any]] = {}
    order: list[tuple[str, nn.Module]] = []
    products = Products(sandbox.module, layers)

    def look(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        order.append((name, module))
        given = next((t for t in (output if isinstance(output, (tuple, list)) else [output]) if isinstance(t, Tensor)), None)
        if name in layers and given is not None:
            layers[name] |= {"calls": layers[name]["calls"] + 1, "last_std": rms(given)}
        elif isinstance(module, (nn.Linear, _ConvNd)) and isinstance(output, Tensor) and args and isinstance(args[0], Tensor):
            weight = module.weight
            if not isinstance(weight, UninitializedParameter) and weight.requires_grad:
                scales = {"input_std": rms(args[0]), "output_std": rms(output), "calls": 1, "last_std": rms(output)}
                layers[name] = {"name": name, "kind": "weighted", **_weights(weight), **scales}
        elif isinstance(module, nn.Embedding) and isinstance(output, Tensor) and module.weight.requires_grad:
            scales = {"gain": rms(module.weight), "input_std": 1.0, "output_std": rms(output), "calls": 1, "last_std": rms(output)}
            entry = {"name": name, "kind": "embedding", "fan_in": module.num_embeddings, "fan_out": module.embedding_dim}
            layers[name] = {**entry, **scales, "zero": not bool(module.weight.detach().any())}
        elif name in products.multiplied:
            return
        elif (matrix := _own(module)) is not None and given is not None and args and isinstance(args[0], Tensor):
            scales = {"input_std": rms(args[0]), "output_std": rms(given), "calls": 1, "last_std": rms(given)}
            wider = {"gain": rms(matrix) * math.sqrt(max(len(matrix), matrix[0].numel()))}  # which axis is summed over is not known
            layers[name] = {"name": name, "kind": "own", **_weights(matrix), **wider, **scales}

    batch = sandbox.move(sandbox.batches[0])
    sandbox.module.zero_grad(set_to_none=True)
    for module in sandbox.module.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    torch.manual_seed(0)
    with hooked(sandbox.module, look), WatchCalls(products.functions()):
        loss, _ = sandbox.training_step(batch)
    if loss is not None and loss.requires_grad and sandbox.module.automatic_optimization:
        loss.backward()  # type: ignore[no-untyped-call]
    named: Mapping[str, nn.Module] = dict(sandbox.module.named_modules())
    after = {name: [following] for (name, _), (_, following) in pairwise(order)}
    for place, (name, module) in enumerate(order):
        if isinstance(module, nn.Embedding):  # positions and dropout may come before the norm
            after[name] = [m for _, m in takewhile(lambda later: not isinstance(later[1], WEIGHTED), order[place + 1 :])]
    own = {id(_own(m)) for m in named.values()}
    held = ((f"{n}.{k}".lstrip("."), p) for n, m in named.items() for k, p in matrices(m) if id(p) not in own)
    square = [(name, p, _weights(p)["gain"]) for name, p in held if len(p) == p[0].numel()]  # before training steps change them
    tables = {f"{n}.{k}".lstrip("."): p for n, m in named.items() for k, p in _tables(m)}
    weighted = {name: named[name] for name, entry in layers.items() if entry["kind"] == "weighted"}
    equal, alike, stuck = stand_still(sandbox, weighted, tables)
    for name, entry in layers.items():
        entry["symmetric"] = name in equal
        entry["normalised"] = any("Norm" in type(m).__name__ for m in after.get(name, ()))
        entry["last"] = name == [n for n, e in layers.items() if e["kind"] == entry["kind"]][-1]
    sandbox.reset()
    record.add("probe.matrices", [{"name": name, "size": len(p), "gain": gain} for name, p, gain in square])
    record.add("probe.alike", alike)
    record.add("probe.stuck", stuck)
    if layers or alike or stuck:
        record.add("probe.initialization", list(layers.values()))
    else:
        record.skip("probe.initialization", "no linear or convolution layer with trainable weights ran")


def _own(module: nn.Module) -> Tensor | None:
    """The largest matrix that a module of the user's own trains, where no module inside of it trains any."""
    inside = any(True for child in module.children() for _ in child.parameters())
    return None if inside else max((p for _, p in matrices(module)), key=Tensor.numel, default=None)


def _tables(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Trainable matrices with several columns of an embedding or of a module of the user's own."""
    known = [("weight", module.weight)] if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) else matrices(module)
    yield from ((name, p) for name, p in known if p.requires_grad and p.dim() == 2 and p.shape[1] > 1)


def _weights(weight: Tensor) -> dict[str, Any]:
    weight = weight.detach().float()
    fan_in = weight[0].numel()
    return {
        "fan_in": fan_in,
        "fan_out": len(weight),
        "gain": float(weight.square().mean().sqrt()) * math.sqrt(fan_in),
        "zero": not bool(weight.any()),
    }
