"""What goes on inside of a recurrent layer: its gates and hidden states, worked out again from what torch's kernel was given and gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

ROWS, STEPS = 64, 4
LAYERS: dict[Callable[..., Any], str] = {torch.lstm: "lstm", torch.gru: "gru", torch.rnn_tanh: "tanh", torch.rnn_relu: "relu"}
CELLS: dict[Callable[..., Any], str] = {
    torch.lstm_cell: "lstm",
    torch.gru_cell: "gru",
    torch.rnn_tanh_cell: "tanh",
    torch.rnn_relu_cell: "relu",
}


def weight_of(func: Callable[..., Any], args: Sequence[Any]) -> Tensor | None:
    """The first weight of a call of a recurrent function; ``None`` for packed sequences."""
    if func in CELLS:
        return args[2]  # type: ignore[no-any-return]
    return args[2][0] if isinstance(args[3], bool) else None  # packed sequences have their weights there


def inside(func: Callable[..., Any], args: Sequence[Any], output: Any) -> tuple[Tensor, str] | None:
    """The hidden states of a plain recurrence, or the gates of an LSTM or GRU, and the activation that they come from.

    Gates are those of the first layer, forward in time, for at most 64 rows and 4 time steps; the tanh of the new state counts as
    ``(1 + tanh) / 2``, so that all of them lie between 0 and 1. Shape ``(rows, gates * units)``. Layers above the first are seen by their
    states alone, and stacked layers at the first time step. ``None`` for packed sequences.

    References:
        The equations on the pages of `torch.nn.LSTM` and `torch.nn.GRU`.
    """
    kind, cell = (CELLS if func in CELLS else LAYERS)[func], func in CELLS
    if weight_of(func, args) is None:
        return None
    if kind in ("tanh", "relu"):
        return (output if cell else output[0]).detach(), kind
    with torch.no_grad():
        if cell:
            x, h, weights = args[0], args[1][0] if kind == "lstm" else args[1], args[2:]
        else:
            x, h, weights = _steps(args, output[0])
        return _gates(kind, x[:ROWS], h[:ROWS], weights), "sigmoid"


def _steps(args: Sequence[Any], states: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Inputs, states before, and weights of the first layer at some time steps; steps and rows together on the first axis."""
    x, start, weights, biased, layers, *_, both_ways, batch_first = args
    start = start[0] if isinstance(start, (list, tuple)) else start
    weights = weights[: 4 if biased else 2]
    x, states = (x, states) if batch_first else (x.transpose(0, 1), states.transpose(0, 1))
    length = x.shape[1]
    if layers > 1 or length < 2:  # the states of the first layer stay inside the kernel
        return x[:, 0], start[0], weights
    at = torch.linspace(1, length - 1, min(STEPS, length - 1), device=x.device).long()
    rows = max(1, ROWS // len(at))
    before = states[:rows, at - 1, : weights[1].shape[1]] if both_ways else states[:rows, at - 1]
    return x[:rows, at].flatten(0, 1), before.flatten(0, 1), weights


def _gates(kind: str, x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """All gates of a step, between 0 and 1, shape ``(rows, gates * units)``."""
    from_x, from_h = x.to(weights[0].dtype) @ weights[0].T, h.to(weights[1].dtype) @ weights[1].T
    if len(weights) > 2 and weights[2] is not None:
        from_x, from_h = from_x + weights[2], from_h + weights[3]
    if kind == "gru":
        (r, z, n), (s, v, m) = from_x.chunk(3, 1), from_h.chunk(3, 1)
        reset = torch.sigmoid(r + s)
        return torch.cat([reset, torch.sigmoid(z + v), torch.sigmoid(2 * (n + reset * m))], 1)
    total = from_x + from_h
    units = total.shape[1] // 4
    total = torch.cat([total[:, : 2 * units], 2 * total[:, 2 * units : 3 * units], total[:, 3 * units :]], 1)
    return torch.sigmoid(total)
