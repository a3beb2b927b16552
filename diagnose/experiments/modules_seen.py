"""What the modules of a network show while a training step runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedBuffer

from diagnose.experiments.batches import leaves
from diagnose.experiments.modes import held_apart
from diagnose.experiments.watch_step import units
from diagnose.measure.losses import LossCall

BIAS_CANCELLING = (_BatchNorm, nn.modules.instancenorm._InstanceNorm)


@dataclass(eq=False)
class Anatomy:
    """What a few training steps showed.

    Attributes:
        call: The primary loss call of the first step, with its graph freed.
        fresh: Names of batch norms whose running averages stood at their start before the first step.
        held: How far the output of batch norms in eval mode is from that in train mode, by name; none of them is fresh.
        ran: Names of the modules that ran, in forward order.
        used: Parameters that any function was given, by ``id``.
        reached: Parameters that got a gradient, by ``id``.
        flat: Those that get a gradient of zero, since a rounding or a sign stands between them and the loss.
        input_max: Largest magnitude that the first module with weights of its own got.
        added: What each step added to the watched loss.
        pull: Norms of the gradient of the watched loss and of what the first step added to it.
    """

    call: LossCall | None = None
    fresh: set[str] = field(default_factory=set)
    held: dict[str, float] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    used: dict[int, Tensor] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)
    flat: set[int] = field(default_factory=set)
    input_max: float | None = None
    added: list[float] = field(default_factory=list)
    pull: tuple[float, float] | None = None


class ModulesSeen:
    """The norms and dropouts that ran in one step, in forward order; what holds for all steps goes to the `Anatomy`."""

    def __init__(self, anatomy: Anatomy, *, first: bool) -> None:
        self.anatomy, self.first = anatomy, first
        self.norms: list[dict[str, Any]] = []
        self.dropouts: list[dict[str, Any]] = []
        self.recurrent: dict[Any, str] = {}  # node that made an output that lies between -1 and 1 → the layer
        self.linear: dict[Any, tuple[str, nn.Linear]] = {}  # node that made its result → name and layer
        self._names: set[str] = set()
        self._biased: dict[int, str] = {}  # id of a tensor → the layer whose bias was added to it
        self._outputs: list[Tensor] = []  # keeps their ids from being used again

    def look(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """The hook for `hooked`."""
        anatomy = self.anatomy
        if name not in self._names:
            self._names.add(name)
            anatomy.ran.append(name)
        given = args[0] if args and isinstance(args[0], Tensor) else None
        if self.first and name not in anatomy.fresh and (apart := held_apart(module, given)) is not None:
            anatomy.held[name] = max(apart, anatomy.held.get(name, 0.0))
        if anatomy.input_max is None and given is not None and given.numel() and given.is_floating_point() and module._parameters:
            anatomy.input_max = float(torch.nan_to_num(given.detach()).abs().max())
        if isinstance(module, BIAS_CANCELLING) and given is not None and module.training:
            entry = {"name": name, "values": given.numel() // max(1, given.shape[1] if given.dim() > 1 else 1)}
            entry["bias_before"] = self._biased.get(id(given), "")
            entry["batch_norm"] = isinstance(module, _BatchNorm)
            entry["momentum"] = module.momentum if name in anatomy.fresh else None
            self.norms.append(entry)
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training:
            self.dropouts.append({"name": name, "p": float(module.p), "units": units(given.shape) if given is not None else 0})
        if within_one(module):
            for tensor in (t for _, t in leaves(output)):
                self.recurrent[tensor.grad_fn] = f"{name} ({type(module).__name__})"
        if isinstance(module, nn.Linear) and isinstance(output, Tensor) and output.grad_fn is not None:
            self.linear[output.grad_fn] = (name, module)
        if isinstance(output, Tensor):
            self._outputs.append(output)
            self._biased.pop(id(output), None)  # what works in place gives back what it was given
            if getattr(module, "bias", None) is not None and isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                self._biased[id(output)] = name


def within_one(module: nn.Module) -> bool:
    """Whether it is a recurrent layer whose outputs end in tanh, or are means of such: not one with a projection or a ReLU.

    Of an LSTM's state the memory is not bounded; it is nobody's prediction.
    """
    if isinstance(module, (nn.RNN, nn.RNNCell)):
        return module.nonlinearity == "tanh"
    if isinstance(module, nn.LSTM):
        return not module.proj_size
    return isinstance(module, (nn.GRU, nn.LSTMCell, nn.GRUCell))


def untouched(module: nn.Module) -> bool:
    """Whether it is a batch norm whose running averages are what they start with, mean 0 and variance 1."""
    if not isinstance(module, _BatchNorm) or module.running_mean is None or isinstance(module.running_mean, UninitializedBuffer):
        return False
    variance = module.running_var
    return not module.running_mean.any() and variance is not None and bool(torch.eq(variance, 1).all())
