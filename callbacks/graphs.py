"""Whether the graphs of steps long past are still held by somebody."""

from __future__ import annotations

from typing import Any, cast
from weakref import ReferenceType, ref

from torch import Tensor

from diagnose.callbacks.instrument import Instrument
from diagnose.namespace import LightningModule, Trainer

NODES, TOKENS, KEY = 64, 256, "diagnose"


class Token:
    """Lives as long as one of the nodes of a graph that it was put on."""


class Graphs(Instrument):
    """``memory/graphs``: of the measured steps of earlier epochs, how many have a graph that is still held, and how many there were.

    At the backward pass a token goes on the nodes next to the loss, in the dictionary that autograd keeps with each node; a token that
    lives tells that something still refers to the graph. The nodes of leaves outlive their graphs and are left out. In a long run every
    other token is dropped again and again. Steps are looked at as seldom as the default cadence has it, however many are measured.
    """

    writes = ("memory/graphs",)

    def __init__(self) -> None:
        self.tokens: list[tuple[int, ReferenceType[Token]]] = []

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.tokens = []
        self.notes.record.label("memory/graphs", ["held", "of"])

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if not self.notes.seldom:
            return
        token, row, seen = Token(), [loss.grad_fn], 0
        while row and seen < NODES:
            node, seen = row.pop(0), seen + 1
            if node is not None and not hasattr(node, "variable"):
                cast("dict[str, Token]", node.metadata)[KEY] = token  # a property, declared as a method
                row += [following for following, _ in node.next_functions]
        self.tokens.append((self.notes.epoch, ref(token)))
        if len(self.tokens) > TOKENS:
            del self.tokens[::2]

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        if not self.notes.seldom:
            return
        earlier = [token() is not None for epoch, token in self.tokens if epoch < self.notes.epoch]
        if earlier:
            self.notes.put("memory/graphs", [float(sum(earlier)), float(len(earlier))])
