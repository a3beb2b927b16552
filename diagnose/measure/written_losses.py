"""Losses that a step writes by hand, such as ``((p - y) ** 2).mean()``, seen as calls of the loss function that they spell out.

While the step runs, differences, products, picks by index and logarithms are noted; once there is a loss, only those count that it is
a linear function of. So a batch norm, a distance to a code book or a similarity written with the same operations is no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.measure.calls import See
from diagnose.measure.graph import SHAPE, op, parents
from diagnose.measure.losses import LossCall
from diagnose.measure.plain import plain
from diagnose.measure.written_forms import Term, likelihoods, squares

MOST = 5000  # nodes that the loss is a linear function of
TERMS = 32
LINEAR = frozenset("Mean Sum Neg Add Sub Rsub Mul Div MaskedSelect Stack Cat _DDPSink".split()) | SHAPE
ROOTS = ("Sqrt", "Pow")


@dataclass(eq=False)
class WrittenLosses:
    """Notes of one step; `functions` shows which calls it has to see, `calls` says what the loss is made of.

    Attributes:
        differences: Node of the graph -> the side with a gradient and the side without.
        picks: Node -> scores, labels, and the axis of the classes.
        products: Node -> the factor with a gradient where it is a logarithm, else ``None``, and the factor without.
        divisors: Node -> what something with a gradient is divided by.
        logs: Node -> what the logarithm was taken of.
        scalars: Node -> its value of one number.
        cut: Values taken out of the graph, and drawn ones: no targets.
    """

    differences: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict)
    picks: dict[Any, tuple[Tensor, Any, Tensor, int]] = field(default_factory=dict)
    products: dict[Any, tuple[Tensor | None, Tensor]] = field(default_factory=dict)
    divisors: dict[Any, Tensor] = field(default_factory=dict)
    logs: dict[Any, Tensor] = field(default_factory=dict)
    scalars: dict[Any, Tensor] = field(default_factory=dict)
    cut: list[Tensor] = field(default_factory=list)

    def functions(self) -> dict[Callable[..., Any], See]:
        """Who looks at the calls of which function."""
        seen: dict[Callable[..., Any], See] = dict.fromkeys((torch.sub, torch.subtract, Tensor.sub, Tensor.subtract), self._difference)
        seen |= dict.fromkeys((torch.rsub,), self._difference)
        seen |= dict.fromkeys((torch.mul, torch.multiply, Tensor.mul, Tensor.multiply), self._product)
        seen |= dict.fromkeys((torch.div, torch.divide, Tensor.div, Tensor.divide), self._quotient)
        seen |= dict.fromkeys((Tensor.__getitem__,), self._index)
        seen |= dict.fromkeys((torch.gather, Tensor.gather, torch.take_along_dim, Tensor.take_along_dim), self._gather)
        seen |= dict.fromkeys((torch.log, Tensor.log, torch.log1p, Tensor.log1p, F.logsigmoid), self._log)
        seen |= dict.fromkeys((Tensor.detach, torch.detach, torch.multinomial, Tensor.multinomial), self._outside)
        reductions = (torch.mean, Tensor.mean, torch.sum, Tensor.sum, torch.sqrt, Tensor.sqrt, Tensor.__pow__, Tensor.pow, torch.pow)
        norms = (torch.norm, Tensor.norm, torch.linalg.norm, torch.linalg.vector_norm)
        return seen | dict.fromkeys((*reductions, *norms, torch.neg, Tensor.neg), self._scalar)

    @property
    def noted(self) -> bool:
        """Whether anything is held."""
        return bool(self.scalars or self.logs or self.products or self.divisors or self.differences or self.picks or self.cut)

    @property
    def spelt(self) -> bool:
        """Whether anything that a loss may be made of is held."""
        return bool(self.differences or self.picks or self.products)

    def clear(self) -> None:
        """Let go of everything."""
        for notes in (self.differences, self.picks, self.products, self.divisors, self.logs, self.scalars, self.cut):
            notes.clear()

    def _difference(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        pair = _pair(args, output)
        if pair is not None and not kwargs:
            computed, given = pair
            if computed.numel() == given.numel() > 1 and given.is_floating_point():
                self.differences[output.grad_fn] = pair
        self._scalar(func, args, kwargs, output)

    def _product(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        pair = _pair(args, output)
        if pair is not None and pair[1].numel() > 1:
            self.products[output.grad_fn] = (pair[0] if self._logarithm(pair[0]) else None, pair[1])
        self._scalar(func, args, kwargs, output)

    def _quotient(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        pair = _pair(args, output)
        if pair is not None and pair[1].numel() > 1:
            self.divisors[output.grad_fn] = pair[1]
        self._scalar(func, args, kwargs, output)

    def _logarithm(self, tensor: Tensor) -> bool:
        node = through(tensor.grad_fn)
        return node in self.logs or (node is not None and op(node) == "LogSoftmax")

    def _index(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        if not isinstance(output, Tensor) or output.grad_fn is None:
            return
        scores, index = args[0], args[1]
        if isinstance(index, Tensor) and index.dtype is torch.bool:
            self.products[output.grad_fn] = (None, plain(index))
        if not isinstance(index, tuple) or len(index) != 2:
            return
        rows, labels = index
        if scores.dim() == 2 and _integers(labels) and labels.dim() == 1 and isinstance(rows, (Tensor, range, list)):
            self.picks[output.grad_fn] = (plain(scores), rows, plain(labels), 1)

    def _gather(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        given = [*args, *kwargs.values()]
        tensors, axes = [g for g in given if isinstance(g, Tensor)], [g for g in given if type(g) is int]
        if not isinstance(output, Tensor) or output.grad_fn is None or len(tensors) != 2 or len(axes) != 1:
            return
        scores, index = tensors if tensors[0].requires_grad else tensors[::-1]
        if _integers(index) and index.dim() == scores.dim() > 1:
            axis = axes[0] % scores.dim()
            if index.shape[axis] == 1 and index.squeeze(axis).shape == (*scores.shape[:axis], *scores.shape[axis + 1 :]):
                self.picks[output.grad_fn] = (plain(scores), None, plain(index).squeeze(axis), axis)

    def _log(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None and args:
            self.logs[output.grad_fn] = plain(args[0])

    def _outside(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and args and (not output.is_floating_point() or args[0].requires_grad):
            self.cut.append(plain(output))

    def _scalar(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 0 and output.grad_fn is not None:
            self.scalars[output.grad_fn] = plain(output)

    def calls(self, loss: Tensor | None) -> list[LossCall]:
        """The loss calls that a loss spells out, in the order of the step; none of tensors that forbid what is done with numbers."""
        if loss is None or loss.numel() != 1 or loss.grad_fn is None or not self.spelt:
            return []
        loss = plain(loss)
        self.scalars.setdefault(loss.grad_fn, loss)
        try:
            with torch.no_grad():
                walk = Walk(self, loss.grad_fn)
                outside = {memory(t) for t in self.cut} - {None}
                terms = [t for t in walk.terms if memory(t.target) not in outside]
                found = [*squares(terms), *likelihoods(terms)]
        except (RuntimeError, TypeError, NotImplementedError):  # nested and sharded ones, for example
            return []
        hard = [call for _, call in found if call.target is not None and not call.target.is_floating_point()]
        kept = [(t, c) for t, c in found if not (hard and c.kind == "cross_entropy" and c not in hard)]  # a teacher beside the labels
        return [call for _, call in sorted(kept, key=lambda entry: entry[0].node._sequence_nr())]


class Walk:
    """From a loss down to all that it is a linear function of.

    Attributes:
        terms: Where the walk met something that a loss function spells out.
    """

    def __init__(self, notes: WrittenLosses, root: Any) -> None:
        self.notes = notes
        self.above: dict[Any, Any] = {root: None}
        self.terms: list[Term] = []
        stack = [root]
        while stack and len(self.above) < MOST and len(self.terms) < TERMS:
            node = stack.pop()
            term = self._term(node)
            if term is not None:
                self.terms.append(term)
            elif self._passes(node):
                for parent in parents(node):
                    if parent not in self.above:
                        self.above[parent] = node
                        stack.append(parent)

    def _passes(self, node: Any) -> bool:
        name = op(node)
        if name in ROOTS:
            return node in self.notes.scalars and self._is_root(node)
        if name in ("Mul", "Div"):
            before = node.next_functions
            return len(parents(node)) == 1 and (name == "Mul" or before[0][0] is not None)
        return name in LINEAR

    def _term(self, node: Any) -> Term | None:
        name, before = op(node), parents(node)
        notes = self.notes
        if node in notes.picks:
            scores, rows, labels, axis = notes.picks[node]
            return self._made(node, "pick", scores, labels, rows=rows, axis=axis)
        if node in notes.logs and before:
            below = through(before[0], bounded=True)
            if below in notes.picks:
                scores, rows, labels, axis = notes.picks[below]
                return self._made(node, "picked", scores, labels, rows=rows, axis=axis)
        if notes.products.get(node, (None,))[0] is not None:
            logs, given = notes.products[node]
            assert logs is not None
            source = notes.logs.get(through(logs.grad_fn))
            return self._made(node, "product", logs, given, source=source)
        kind = ""
        if self._squares(node):
            kind = "square"
        elif self._is_root(node) and before and self._squares(below := summed(before[0])):
            kind, before = "norm", parents(below)  # a distance of each sample
        elif name == "Abs":
            kind = "absolute"
        elif name == "LinalgVectorNorm" and node._saved_ord == 2:
            kind = "norm"
        if not kind or not before:
            return None
        below, weights = before[0], []
        while below is not None and below not in notes.differences:
            name, further = op(below), parents(below)
            if len(further) != 1 or name not in SHAPE | {"Mul", "Div", "Neg"} or (name == "Div" and below.next_functions[0][0] is None):
                return None
            weights += self._weight(below)
            below = further[0]
        if below is None:
            return None
        computed, given = notes.differences[below]
        inner = [w * w if kind != "absolute" else w.abs() for w in weights]
        return self._made(node, kind, computed, given, inner=inner)

    def _is_root(self, node: Any) -> bool:
        return op(node) == "Sqrt" or power(node) == 0.5

    def _squares(self, node: Any) -> bool:
        before = parents(node)
        twice = op(node) == "Mul" and len(before) == 2 and (before[0] is before[1] or self._same(*before))
        return twice or power(node) == 2

    def _same(self, first: Any, second: Any) -> bool:
        a, b = self.notes.differences.get(first), self.notes.differences.get(second)
        return a is not None and b is not None and a[0] is b[0] and a[1] is b[1]

    def _made(self, node: Any, kind: str, computed: Tensor, given: Tensor, **options: Any) -> Term:
        path = list(self._up(node))
        weights = [w for n in path if n is not node for w in self._weight(n)]
        weights += options.pop("inner", [])
        return Term(node, kind, computed, given, path, weights, self.notes.scalars, **options)

    def _weight(self, node: Any) -> list[Tensor]:
        """What a node multiplies with, where that is more than a number."""
        if node in self.notes.products:
            return [self.notes.products[node][1]]
        return [1 / self.notes.divisors[node]] if node in self.notes.divisors else []

    def _up(self, node: Any) -> Iterator[Any]:
        while node is not None:
            yield node
            node = self.above[node]


def through(node: Any, bounded: bool = False) -> Any:
    """The first node before this one, or itself, that does more than reshape (or, ``bounded``, clamp and add a constant)."""
    passed = SHAPE - {"Index", "Gather", "IndexSelect"} | ({"Clamp", "ClampMin", "ClampMax", "Add"} if bounded else set())
    while node is not None and op(node) in passed and len(parents(node)) == 1:
        (node,) = parents(node)
    return node


def power(node: Any) -> float | None:
    """The exponent of a power with a number for one."""
    exponent = node._saved_exponent if node.name() == "PowBackward0" else None
    return float(exponent) if isinstance(exponent, (int, float)) else None


def summed(node: Any) -> Any:
    """The first node before this one, or itself, that is no sum over an axis and adds no constant."""
    while op(node) in ("Sum", "Mean", "Add", "Squeeze", "View") and len(parents(node)) == 1:
        (node,) = parents(node)
    return node


def _pair(args: Sequence[Any], output: Any) -> tuple[Tensor, Tensor] | None:
    """Of two factors or two sides of a difference the one with a gradient and the one without; ``None`` where there are no such two."""
    if len(args) < 2 or not isinstance(output, Tensor) or output.grad_fn is None:
        return None
    a, b = args[0], args[1]
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.requires_grad == b.requires_grad:
        return None
    computed, given = (a, b) if a.requires_grad else (b, a)
    return None if computed.grad_fn is None else (plain(computed), plain(given))


def memory(tensor: Tensor) -> int | None:
    """Where the numbers of a tensor lie; ``None`` for those of a kind of their own (sparse, inside of a transform of `torch.func`)."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return None


def _integers(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
