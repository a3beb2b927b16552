"""What the autograd graph of a step says about the network: what stands before the loss, and what stands between its layers."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SHAPE = frozenset(
    """
    View UnsafeView ReshapeAlias Squeeze Unsqueeze Transpose T Mt Permute Select Slice Clone ToCopy Expand AsStrided Alias Narrow
    Split SplitWithSizes Chunk Index IndexSelect Gather Cat Stack Unbind Repeat Flatten Movedim ConstantPadNd Roll Flip Copy
    Slices CopySlices
    """.split()
)
SCALAR = frozenset(
    """
    Mul Div Add Sub Neg Rsub Sum Mean AvgPool2D AvgPool1D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool1D MeanDim NativeDropout
    """.split()
)
AFFINE = frozenset("NativeBatchNorm CudnnBatchNorm".split())
MATMUL = frozenset("Addmm Mm Linear Convolution MkldnnLinear Baddbmm Addbmm Bmm MkldnnConvolution ThnnConv2D".split())
RECURRENT = frozenset("MkldnnRnnLayer CudnnRnn MiopenRnn ThnnFusedGruCell ThnnFusedLstmCell".split())
STEPS = frozenset("Round Floor Ceil Trunc Sign Sgn".split())  # their gradient is zero everywhere
ACTIVATIONS = frozenset(
    """
    Softmax LogSoftmax Sigmoid LogSigmoid Tanh Relu LeakyRelu Elu Gelu Silu Softplus Hardtanh Hardsigmoid Hardswish Mish Clamp
    ClampMin ClampMax Log Exp Threshold Prelu Rrelu Celu Selu Softsign Abs
    """.split()
)
ORDERED = ACTIVATIONS - {"Softmax", "LogSoftmax"} | frozenset("View UnsafeView ReshapeAlias Squeeze Unsqueeze Alias ToCopy".split())


def op(node: Any) -> str:
    """The operation's name: ``"Addmm"`` for the graph's ``AddmmBackward0``."""
    return re.sub(r"Backward\w*$", "", node.name())


def parents(node: Any) -> list[Any]:
    """The nodes that a node got its gradients' inputs from."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def variable(node: Any) -> Tensor | None:
    """The leaf behind an ``AccumulateGrad`` node, also through the transposition and casts that a layer puts on its weight."""
    while op(node) in ("T", "Transpose", "ToCopy", "View", "Unsqueeze", "Permute") and len(parents(node)) == 1:
        (node,) = parents(node)
    return getattr(node, "variable", None) if "AccumulateGrad" in node.name() else None


def reached(*outputs: Tensor | None, limit: int = 50_000, without: Container[str] = ()) -> tuple[list[Any], dict[int, Tensor]]:
    """All nodes behind some tensors, at most ``limit``, and the leaves among them by ``id``; nothing behind the operations ``without``."""
    stack: list[Any] = [t.grad_fn for t in outputs if t is not None and t.grad_fn is not None]
    seen: set[Any] = set(stack)
    leaves: dict[int, Tensor] = {}
    while stack and len(seen) < limit:
        node = stack.pop()
        if "AccumulateGrad" in node.name():
            leaves[id(node.variable)] = node.variable
        for parent in parents(node) if not without or op(node) not in without else ():
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return list(seen), leaves


def behind_steps(loss: Tensor, limit: int = 50_000) -> set[int]:
    """Leaves, by ``id``, all whose ways to the loss lead through a rounding or a sign, so that their gradient is zero."""
    nodes, leaves = reached(loss, limit=limit)
    if len(nodes) >= limit or not any(op(n) in STEPS for n in nodes):
        return set()
    return set(leaves) - set(reached(loss, limit=limit, without=STEPS)[1])


def scaled(node: Any) -> Iterator[Any]:
    """A node and those before it that it is a multiple of, while it is a multiple of one alone."""
    yield node
    while op(node) in SHAPE | {"Mul", "Div", "Neg"} and len(parents(node)) == 1:
        (node,) = parents(node)
        yield node


def addends(node: Any) -> Iterator[Any]:
    """The nodes whose values a node is the sum or the difference of, all times one factor.

    >>> a, b = torch.ones(2, requires_grad=True).unbind()
    >>> [op(n) for n in addends((3 * (a.exp() - 2 * b)).grad_fn)]
    ['Exp', 'Mul']
    """
    *_, inner = scaled(node)
    stack = [inner if op(inner) in ("Add", "Sub") else node]
    while stack:
        term = stack.pop()
        if op(term) in ("Add", "Sub") and len(parents(term)) > 1:
            stack += reversed(parents(term))
        else:
            yield term


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation found on the way from the network's last layer to the loss.

    Attributes:
        name: Such as ``"Softmax"``.
        axis: For a softmax the axis that it normalises, else -1.
        shape: Shape of its result, where the graph keeps it.
        scaled: Something multiplies or shifts the result before it reaches the loss.
    """

    name: str
    axis: int = -1
    shape: tuple[int, ...] = ()
    scaled: bool = False


def head(output: Tensor) -> list[Activation]:
    """The activations between the last layer with weights and ``output``, the one next to ``output`` first.

    Only a single path is followed: where two computed tensors meet, the walk ends.
    """
    found: list[Activation] = []
    node, scaled = output.grad_fn, False
    while node is not None:
        name = op(node)
        data = [p for p in parents(node) if variable(p) is None]
        if name in ACTIVATIONS:
            found.append(activation(node, name, scaled))
            if name not in ("Log", "Clamp", "ClampMin"):
                scaled = False
        elif name in SCALAR and not any(variable(p) is not None for p in parents(node)):
            scaled = scaled or name not in ("NativeDropout", "Add", "Sub")
        elif name not in SHAPE:
            break
        if len(data) != 1:
            break
        (node,) = data
    return found


def reshaped(output: Tensor) -> Iterator[Any]:
    """The node that made ``output`` and those before it that only reshaped, while there is a single path."""
    node = output.grad_fn
    while node is not None:
        yield node
        before = parents(node)
        node = before[0] if op(node) in SHAPE and len(before) == 1 else None


def linear_units(output: Tensor) -> int | None:
    """The number of units of the linear layer whose results, in the order that they lie in memory, are ``output``.

    Any `view` keeps that order: the units of one row follow each other. A transposition does not, nor does a selection.

    >>> result = torch.nn.Linear(2, 3)(torch.ones(4, 5, 2))
    >>> linear_units(result.view(4, 3, 5)), linear_units(result.transpose(1, 2))
    (3, None)
    """
    node: Any = output.grad_fn
    while node is not None and op(node) in ORDERED and len(parents(node)) == 1:
        (node,) = parents(node)
    weight = node.next_functions[-1][0] if node is not None and op(node) in ("Addmm", "Mm") else None
    return None if weight is None or variable(weight) is None else int(node._input_metadata[0].shape[-1])


def frozen_head(output: Tensor) -> bool:
    """Whether ``output`` comes out of a matrix product of something computed with something that is not trained.

    >>> layer = torch.nn.Linear(2, 3).requires_grad_(False)
    >>> frozen_head(layer(torch.ones(1, 2, requires_grad=True) * 2))
    True
    """
    *_, last = [None, *reshaped(output)]
    before = parents(last) if last is not None and op(last) in MATMUL else []
    return len(before) == 1 and variable(before[0]) is None


def activation(node: Any, name: str, scaled: bool) -> Activation:
    """An activation by its node; of a softmax also the axis and the shape, where the graph keeps them."""
    if name not in ("Softmax", "LogSoftmax"):
        return Activation(name, scaled=scaled)
    try:
        result = node._saved_result
        axis = int(node._saved_dim)
    except (AttributeError, RuntimeError):  # freed, or another backend's node
        return Activation(name, scaled=scaled)
    axis = axis - 2**64 if axis > 2**63 else axis
    return Activation(name, axis % max(1, result.dim()), tuple(result.shape), scaled)


@dataclass(frozen=True, slots=True)
class Layer:
    """A multiplication with a trained weight: its parameter's name, and its inputs and outputs per unit."""

    name: str
    fan_in: int
    fan_out: int
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Linearity:
    """How the layers with weights follow each other.

    Attributes:
        layers: Number of layers with weights on the way to the output; recurrent ones count, too.
        nonlinear: Number of operations on the way that are not linear.
        longest: Names of the layers of the longest run without a nonlinearity between them.
    """

    layers: int
    nonlinear: int
    longest: tuple[str, ...]


def linearity(output: Tensor, names: Mapping[int, str], mixed: Container[Any] = ()) -> Linearity:
    """Find layers that follow each other without a nonlinearity, so that they collapse into one.

    A narrow layer between two wide ones (a low-rank factorisation, the code of an autoencoder) and grouped convolutions are not counted
    as a run: they restrict the map on purpose. Nor is a layer whose result goes past the next one to something that is not linear in it
    alone, as around the branches of a residual network: it cannot be merged into what follows.

    Args:
        output: The network's output, in the graph of a step.
        names: Names of the parameters by ``id``.
        mixed: Nodes that join a computed value with one outside the graph, which may depend on the input in any way (a quantised code
            whose gradient goes straight through): they are not linear.
    """
    nodes, _ = reached(output)
    layers = {node: layer for node in nodes if (layer := _layer(node, names)) is not None}
    nonlinear = sum(1 for n in nodes if op(n) not in SHAPE | SCALAR | AFFINE | MATMUL and "AccumulateGrad" not in n.name())
    nonlinear += sum(1 for n in nodes if (op(n) in MATMUL and n not in layers) or n in mixed)
    ordered = sorted((n for n in nodes if "AccumulateGrad" not in n.name()), key=lambda n: n._sequence_nr())  # as in the forward pass
    data = {n: [p for p in parents(n) if variable(p) is None] for n in ordered}
    linear = {n for n in ordered if n not in layers and op(n) in SHAPE | SCALAR | AFFINE and n not in mixed}
    linear -= {n for n in linear if op(n) in ("Mul", "Div") and len(data[n]) > 1}  # a product of two computed tensors
    bent = set(ordered) - linear - set(layers)  # what holds something that is not linear in the layers before it
    deep = set(bent)  # or in anything before those
    for node in ordered:
        if node in linear and any(p in bent for p in data[node]):
            bent.add(node)
        if any(p in deep for p in data[node]):
            deep.add(node)

    def before(starts: Iterable[Any]) -> Iterator[Any]:
        """The layers that come next on the way back from some nodes, through what is linear."""
        stack, seen = list(starts), set()
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                if node in layers:
                    yield node
                elif node in linear:
                    stack.extend(data[node])

    sources = {n: list(before(data[n])) for n in ordered if n in layers}
    needed = set(before(p for n in ordered if n not in linear and n not in layers for p in data[n]))
    for starts, found in [*((data[n], found) for n, found in sources.items()), ([output.grad_fn], list(before([output.grad_fn])))]:
        if any(p in bent for p in starts) or (len(found) > 1 and any(n in deep for n in found)):
            needed.update(found)
    runs: dict[Any, tuple[Any, ...]] = {}
    for node, layer in ((n, layers[n]) for n in sources):
        best: tuple[Any, ...] = ()
        for earlier in sources[node]:
            source = layers[earlier]
            narrow = source.fan_out < min(source.fan_in, layer.fan_out)
            if earlier not in needed and not (narrow or layer.grouped or source.grouped) and len(runs.get(earlier, ())) > len(best):
                best = runs[earlier]
        runs[node] = (*best, node)
    longest = max(runs.values(), key=len, default=())
    recurrent = sum(op(n) in RECURRENT for n in nodes)
    return Linearity(len(layers) + recurrent, nonlinear, tuple(layers[n].name for n in longest))


def _layer(node: Any, names: Mapping[int, str]) -> Layer | None:
    if op(node) not in MATMUL:
        return None
    for parent in parents(node):
        weight = variable(parent)
        if weight is not None and weight.dim() >= 2:
            fan_in, grouped = weight[0].numel(), False
            if op(node) == "Convolution":
                grouped = int(getattr(node, "_saved_groups", 1)) > 1
            name = names.get(id(weight), "an unregistered weight").removesuffix(".weight")
            return Layer(name, fan_in, weight.shape[0], grouped)
    return None


def sums_to_one(values: Tensor, axis: int, tolerance: float = 0.02) -> bool:
    """Whether ``values`` are non-negative and sum to one along ``axis``."""
    total = values.sum(axis)
    return bool((values >= -1e-6).all()) and bool(torch.allclose(total, torch.ones_like(total), atol=tolerance))
