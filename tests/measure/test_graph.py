"""The graph of hand-made networks: what stands before the loss, and which layers follow each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.measure.graph import Activation, head, op, parents, reached, sums_to_one, variable

X = torch.randn(6, 8)
IMAGES = torch.randn(4, 4, 6, 6)


def names(output: Tensor) -> list[str]:
    return [a.name for a in head(output)]


# The head


LAST = nn.Linear(8, 3)
HEADS: dict[str, tuple[Callable[[], Tensor], list[str]]] = {
    "linear": (lambda: LAST(X), []),
    "softmax": (lambda: LAST(X).softmax(1), ["Softmax"]),
    "log of softmax": (lambda: (LAST(X).softmax(1) + 1e-8).log(), ["Log", "Softmax"]),
    "log_softmax": (lambda: F.log_softmax(LAST(X), -1), ["LogSoftmax"]),
    "clamped sigmoid": (lambda: LAST(X).sigmoid().clamp(1e-6, 1 - 1e-6), ["Clamp", "Sigmoid"]),
    "relu, reshaped": (lambda: LAST(X).relu().view(3, 6).t().contiguous(), ["Relu"]),
    "one column of a softmax": (lambda: LAST(X).softmax(1)[:, 1], ["Softmax"]),
    "in place": (lambda: F.relu_(LAST(X)), ["Relu"]),
    "two in a row": (lambda: LAST(X).tanh().sigmoid(), ["Sigmoid", "Tanh"]),
    "dropped": (lambda: F.dropout(LAST(X).tanh(), 0.5), ["Tanh"]),
    "a hidden activation": (lambda: LAST(X.relu() * LAST.weight[0, 0]), []),
    "two branches meet": (lambda: LAST(X).sigmoid() * LAST(X).tanh(), []),
    "another dtype": (lambda: LAST(X).softmax(1).double(), ["Softmax"]),
    "not trained": (lambda: X.sigmoid(), []),
    "convolution": (lambda: nn.Conv2d(4, 2, 1)(IMAGES).sigmoid(), ["Sigmoid"]),
    "pooled": (lambda: nn.Conv2d(4, 2, 1)(IMAGES).relu().mean((2, 3)), ["Relu"]),
    "matrix product": (lambda: (X @ LAST.weight.t()).softmax(1), ["Softmax"]),
    "a module": (lambda: nn.Sequential(LAST, nn.Softmax(dim=1))(X), ["Softmax"]),
}


@pytest.mark.parametrize("case", HEADS)
def test_activations_between_the_last_layer_and_the_loss(case: str) -> None:
    make, expected = HEADS[case]
    assert names(make()) == expected


@pytest.mark.parametrize(("dim", "axis"), [(0, 0), (1, 1), (-1, 2), (2, 2), (-2, 1)])
def test_the_axis_of_a_softmax(dim: int, axis: int) -> None:
    for function in (torch.softmax, torch.log_softmax):
        (found,) = head(function(nn.Linear(8, 3)(torch.randn(2, 5, 8)), dim))
        assert (found.axis, found.shape) == (axis, (2, 5, 3))


def test_a_result_that_is_scaled_afterwards() -> None:
    assert head(LAST(X).softmax(1) * 30) == [Activation("Softmax", 1, (6, 3), scaled=True)]
    assert head(LAST(X).tanh() / 0.1)[0].scaled
    assert head(LAST(X).sigmoid().mean(1))[0].scaled
    assert not head(LAST(X).sigmoid() + 1e-6)[0].scaled
    assert not head(LAST(X * 30).sigmoid())[0].scaled


def test_a_scaled_activation_says_nothing_about_the_one_before_it() -> None:
    outer, inner = head((LAST(X).sigmoid()).tanh() * 3)
    assert (outer.name, outer.scaled, inner.name, inner.scaled) == ("Tanh", True, "Sigmoid", False)


def test_a_learned_scale_is_a_layer() -> None:
    scale = nn.Parameter(torch.ones(()))
    assert names(LAST(X).softmax(1) * scale) == []


def test_a_freed_graph_keeps_the_name() -> None:
    output = LAST(X).softmax(1)
    output.sum().backward()
    assert names(output) == ["Softmax"]


# The walk


def test_operations_parents_and_leaves() -> None:
    layer = nn.Linear(8, 3)
    output = layer(X).relu()
    assert op(output.grad_fn) == "Relu"
    (before,) = parents(output.grad_fn)
    assert op(before) == "Addmm"
    assert {id(v) for p in parents(before) if (v := variable(p)) is not None} == {id(layer.weight), id(layer.bias)}
    nodes, leaves = reached(output)
    assert set(leaves) == {id(layer.weight), id(layer.bias)}
    assert {op(n) for n in nodes} >= {"Relu", "Addmm"}


def test_the_walk_ends_at_its_limit() -> None:
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(200):
        y = y + 1
    nodes, _ = reached(y, limit=50)
    assert len(nodes) <= 60
    assert reached(None, torch.ones(1)) == ([], {})


def test_sums_to_one() -> None:
    values = torch.randn(5, 3).softmax(1)
    assert sums_to_one(values, 1)
    assert not sums_to_one(values, 0)
    assert not sums_to_one(torch.tensor([[1.5, -0.5]]), 1)
