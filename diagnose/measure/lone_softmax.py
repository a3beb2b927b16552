"""A softmax over one score: 1, whatever the score is."""

from __future__ import annotations

from torch import Tensor

from diagnose.measure.graph import ORDERED, activation, op, parents, reached, variable

PASSED = ORDERED | {"Mul", "Div", "MaskedFill"}


def lone_softmax(loss: Tensor) -> tuple[int, ...] | None:
    """The shape of what a softmax behind ``loss`` gives, where it runs over an axis of one element that a layer of one unit made.

    A softmax over one element is not looked at where the input may have had more of them, as an attention over one token.

    >>> import torch
    >>> scores = torch.nn.Linear(2, 1)(torch.ones(4, 7, 2))
    >>> lone_softmax(scores.softmax(-1).sum()), lone_softmax(scores.softmax(1).sum())
    ((4, 7, 1), None)
    """
    for node in reached(loss)[0]:
        if op(node) not in ("Softmax", "LogSoftmax"):
            continue
        found = activation(node, op(node), False)
        if not found.shape or found.shape[found.axis] != 1:
            continue
        while len(parents(node)) == 1 and (op(node) in PASSED or op(node) in ("Softmax", "LogSoftmax")):
            (node,) = parents(node)
        weight = node.next_functions[-1][0] if op(node) in ("Addmm", "Mm") else None
        if weight is not None and variable(weight) is not None and node._input_metadata[0].shape[-1] == 1:
            return found.shape
    return None
