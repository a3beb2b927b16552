"""Where a step first becomes NaN or infinite, found by running it again on a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diagnose.experiments.batches import leaves
from diagnose.experiments.sandbox import Sandbox, run_in_sandbox
from diagnose.measure.gradients import clean, dense
from diagnose.measure.losses import LOSSES
from diagnose.namespace import LightningModule

ARITHMETIC = frozenset(
    "log log2 log10 log1p exp expm1 sqrt rsqrt reciprocal pow __pow__ square div true_divide divide __truediv__ mul __mul__ "
    "matmul __matmul__ linear conv1d conv2d sum mean norm atanh".split()
)


class FirstNonFinite(TorchFunctionMode):
    """Remembers the first operation of a forward pass that gives NaN, or infinity where it is not a mask.

    Attributes:
        found: Module and operation, such as ``("net.3", "log")``, or ``None``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.found: tuple[str, str] | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        if self.found is None and isinstance(output, Tensor) and broken(output, infinity=name in ARITHMETIC or func in LOSSES):
            self.found = (self.stack[-1] if self.stack else "", name.strip("_"))
        return output

    @contextmanager
    def naming(self, module: nn.Module) -> Iterator[None]:
        """Know which module is running, by hooks that are removed at the end."""
        handles = []
        for name, child in module.named_modules():
            handles.append(child.register_forward_pre_hook(Push(self, clean(name))))
            handles.append(child.register_forward_hook(Pop(self, clean(name)), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class Push:
    """Forward pre-hook: a module begins."""

    def __init__(self, mode: FirstNonFinite, name: str) -> None:
        self.mode, self.name = mode, name

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        self.mode.stack.append(self.name)


class Pop:
    """Forward hook: a module is done; what it gives out is looked at, also where its operations were not seen."""

    def __init__(self, mode: FirstNonFinite, name: str) -> None:
        self.mode, self.name = mode, name

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        del self.mode.stack[-1:]
        if self.mode.found is None and any(broken(t) for _, t in leaves(output)):
            self.mode.found = (self.name, type(module).__name__)


def broken(tensor: Tensor, infinity: bool = True) -> bool:
    """Whether a floating-point tensor holds NaN, or infinity where that counts."""
    if not tensor.is_floating_point():
        return False
    values = dense(tensor)
    return bool((~torch.isfinite(values) if infinity else torch.isnan(values)).any())


def locate(
    module: LightningModule,
    batch: Any,
    index: int = 0,
    *,
    random_state: Tensor | None = None,
    precision: str = "32-true",
    weights: Mapping[str, Tensor] | None = None,
) -> dict[str, str]:
    """Run one training step again on a copy and say where NaN or infinity comes in.

    Args:
        module: The module with the weights of that step; it is not touched.
        batch: The batch, on the module's device.
        index: Its index in the epoch.
        random_state: State of torch's CPU generator before the step.
        precision: As for the Trainer.
        weights: The module's state as that step began, where the module has gone on since.

    Returns:
        ``what`` (``input``, ``weight``, ``activation``, ``loss``, ``gradient``, or ``""`` where the step is finite), ``module`` (the first
        in forward order, or in backward order for a gradient), ``operation`` and ``direction``.

    Raises:
        diagnose.experiments.copying.Unusable: The module cannot be copied or set up.
    """
    found: dict[str, str] = {"what": "", "module": "", "operation": "", "direction": "forward"}
    for path, tensor in leaves(batch):
        if broken(tensor):
            return {**found, "what": "input", "module": path}
    state = weights or {}
    poisoned = [name for name, p in module.named_parameters() if broken(state.get(name, p))]
    if poisoned:
        name = clean(poisoned[-1])
        return {**found, "what": "weight", "module": name.rpartition(".")[0] or name, "direction": "backward"}

    def use(sandbox: Sandbox) -> None:
        with torch.no_grad():
            for name, value in (*sandbox.module.named_parameters(), *sandbox.module.named_buffers()):
                if name in state:
                    value.copy_(state[name])
        if random_state is not None:
            torch.set_rng_state(random_state)
        with FirstNonFinite() as mode, mode.naming(sandbox.module):
            loss, _ = sandbox.training_step(batch, index)
        if mode.found is not None:
            place, operation = mode.found
            what = "loss" if operation in LOSSES.values() else "activation"
            found.update(what=what, module=place or type(module).__name__, operation=operation)
        elif loss is not None and broken(loss):
            found.update(what="loss")
        elif loss is not None and loss.requires_grad:
            if sandbox.module.automatic_optimization:
                loss.backward()  # type: ignore[no-untyped-call]
            bad = [n for n, p in sandbox.module.named_parameters() if p.grad is not None and broken(p.grad)]
            if bad:
                found.update(what="gradient", module=clean(bad[-1]).rpartition(".")[0] or bad[-1], direction="backward")

    settings = {"precision": precision, "accelerator": "cpu"} if module.device.type == "cpu" else {"precision": precision}
    run_in_sandbox(module, [batch], [], use, settings=settings)
    return found
