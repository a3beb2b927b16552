"""What one training step calls: its losses, the weights it uses, and what it does with predictions and targets on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.written_dropout import WrittenDropout
from diagnose.measure.calls import transformed
from diagnose.measure.graph import MATMUL, op, reached
from diagnose.measure.watched_losses import WatchLosses

SUMS = ("add", "radd", "iadd", "sub", "rsub", "isub")
ARITHMETIC = (*SUMS, "mul", "rmul", "imul", "div", "truediv", "rtruediv", "itruediv")
LIKENESS = frozenset("Exp Logsumexp Softmax LogSoftmax".split())  # of distances: kernels, densities, assignments
DROPOUTS = (nn.functional.dropout, nn.functional.dropout1d, nn.functional.dropout2d, nn.functional.dropout3d, nn.functional.alpha_dropout)


def units(shape: Sequence[int]) -> int:
    """How many units a dropout of this shape chooses from, as far as the next layer sums over them: channels, or the shortest axis.

    >>> units((16, 64)), units((16, 9, 32)), units((16, 64, 8, 8)), units((16,))
    (64, 9, 64, 0)
    """
    return shape[1] if len(shape) > 3 else min(shape[1:], default=0)


def by_pairs(predicted: Tensor, given: Tensor) -> bool:
    """Whether an axis was put in on purpose, so that each row of features on one side meets each on the other: distances of all pairs.

    >>> x, y = torch.ones(5, 3, requires_grad=True), torch.ones(5, 3)
    >>> by_pairs(x[:, None], y), by_pairs(x.sum(1)[:, None], y[:, 0])
    (True, False)
    """
    features = predicted.dim() > 2 and given.dim() > 1 and predicted.shape[-1] == given.shape[-1] > 1
    return features and predicted.grad_fn is not None and op(predicted.grad_fn) == "Unsqueeze"


Broadcast = tuple[Any, tuple[int, ...], tuple[int, ...]]  # node of the graph, and the shapes of both sides


class WatchStep(WatchLosses):
    """Collects the loss calls of a step, the parameters that it uses, and implicit broadcasts between predictions and targets."""

    def __init__(self, targets: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.used: dict[int, Tensor] = {}
        self.targets = {t.data_ptr(): t for t in targets if t.layout is torch.strided and not t.is_nested and t.numel()}
        self.dropped: dict[Any, float] = {}  # node of the graph -> p
        self.dropouts: list[tuple[float, int]] = []  # p, and its `units`
        self.masked = WrittenDropout()
        self.mixed: set[Any] = set()  # nodes that join a computed value with one that is outside the graph
        self.differences: list[Broadcast] = []
        self.products: list[Broadcast] = []
        self.backwards: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if func is Tensor.backward:
            self.backwards.append(args[0])
        if not transformed():
            self.masked.see(func, args, kwargs or {}, result)
        if isinstance(result, (Tensor, tuple)):
            for arg in (*args, *(kwargs or {}).values()):
                for tensor in arg if isinstance(arg, (list, tuple)) else (arg,):
                    if isinstance(tensor, nn.Parameter) and not isinstance(tensor, UninitializedParameter):
                        self.used[id(tensor)] = tensor
            if transformed():
                return result
            if func in DROPOUTS and isinstance(result, Tensor) and result.grad_fn is not None:
                p = args[1] if len(args) > 1 else (kwargs or {}).get("p", 0.5)
                training = args[2] if len(args) > 2 else (kwargs or {}).get("training", True)
                self.dropped[result.grad_fn] = float(p) if training else 0.0
                self.dropouts.append((self.dropped[result.grad_fn], units(result.shape)))
            name = getattr(func, "__name__", "").strip("_")
            if name in ("sub", "rsub", "mul") and isinstance(result, Tensor):
                self._watch_broadcast(self.products if name == "mul" else self.differences, args, result)
            if name in ARITHMETIC and isinstance(result, Tensor) and result.grad_fn is not None:
                self._watch_mixture(name, args, result)
        return result

    def _watch_mixture(self, name: str, args: tuple[Any, ...], result: Tensor) -> None:
        """A value of full size without a gradient may depend on the input in any way: a rounded code, noise, a gate."""
        pair = [a for a in args[:2] if isinstance(a, Tensor)]
        outside = [p for p in pair if not p.requires_grad and p.numel() == result.numel() > 1]
        if len(pair) == 2 and len(outside) == 1 and not (name in SUMS and outside[0].data_ptr() in self.targets):
            self.mixed.add(result.grad_fn)

    def _watch_broadcast(self, kept: list[Broadcast], args: tuple[Any, ...], result: Tensor) -> None:
        """Note where a batch's tensor and something computed have the same rows, but come to stand with them on different axes."""
        pair = [a for a in args[:2] if isinstance(a, Tensor)]
        if len(pair) != 2 or result.numel() <= max(p.numel() for p in pair) or 0 in (dims := [p.dim() for p in pair]):
            return
        predicted, given = pair if pair[0].requires_grad else pair[::-1]
        compared = predicted.grad_fn is not None and not given.requires_grad and given.data_ptr() in self.targets
        if compared and dims[0] != dims[1] and len(predicted) == len(given) > 1 and not by_pairs(predicted, given):
            kept.append((result.grad_fn, tuple(predicted.shape), tuple(given.shape)))

    def broadcast(self, loss: Tensor | None, products: bool = False) -> list[list[int]] | None:
        """Shapes of predictions and targets that are broadcast against each other in a difference, or product, that a loss is made of.

        One with a layer between it and the loss (bumps around centres), one that becomes a likeness, and one before the predictions that
        a loss function is given belong to the network.
        """
        seen = self.products if products else self.differences
        if not seen:
            return None
        losses = [*self.backwards, *([] if loss is None else [loss])]
        last = set(reached(*losses, without=MATMUL | LIKENESS)[0])
        inner = set(reached(*(c.input for c in self.calls))[0])
        return next(([list(p), list(t)] for node, p, t in seen if node in last - inner), None)
