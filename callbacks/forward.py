"""What is there only while the forward pass of a measured batch runs: hooks of modules, and one function mode for all instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from diagnose.callbacks.instrument import Instrument
from diagnose.measure.activations import attach
from diagnose.measure.calls import WatchCalls, shared
from diagnose.measure.fast_paths import FastPaths
from diagnose.namespace import LightningModule, Trainer


class Forward(Instrument):
    """Shows the others what they want to see of a forward pass."""

    thorough = True

    def __init__(self) -> None:
        self.others: Sequence[Instrument] = ()
        self.known = False
        self.fast_paths: FastPaths
        self.handles: list[RemovableHandle] = []
        self.mode: WatchCalls | None = None

    def serve(self, instruments: Sequence[Instrument]) -> None:
        """Show from now on what these want to see."""
        self.others = [i for i in instruments if i is not self]
        self.known = False

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        self.fast_paths = FastPaths(module)

    def before_batch(self, module: LightningModule, batch: Any, index: int) -> None:
        self.release()
        if not self.notes.watched:
            return
        if not self.known:
            self.functions = shared([i.functions for i in self.others])
            self.hooks = [hook for i in self.others for hook in i.hooks]
            self.known = True
        if self.functions or self.hooks:
            self.handles = attach(self.hooks)
            self.fast_paths.__enter__()
            self.mode = WatchCalls(self.functions)
            self.mode.__enter__()  # type: ignore[no-untyped-call]

    def after_forward(self, module: LightningModule) -> None:
        self.release()  # clearing calls many functions, which a mode would slow down

    def before_backward(self, module: LightningModule, loss: Tensor) -> None:
        if module.automatic_optimization:
            self.release()

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        self.release()

    def release(self) -> None:
        mode, self.mode = self.mode, None
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.fast_paths.__exit__(None, None, None)
        handles, self.handles = self.handles, []
        for handle in handles:
            handle.remove()
