"""What activations put out: scale, dead and saturated units, seen in modules by hooks and in functions by a function mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from diagnose.measure.activation_statistics import Statistics, statistics
from diagnose.measure.calls import See, transformed
from diagnose.measure.gradients import clean
from diagnose.measure.recurrence import CELLS, LAYERS, inside, weight_of

MODULES: dict[type[nn.Module], str] = {
    kind: kind.__name__.lower()
    for kind in (
        *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
        *(nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softsign, nn.Softmax, nn.GLU, nn.LogSigmoid),
    )
}
NAMES = ("relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh")
FUNCTIONS: dict[Callable[..., Any], str] = {
    function: name
    for name in (*NAMES, "hardtanh", "hardsigmoid", "hardswish", "softsign", "softmax", "glu", "logsigmoid", "rrelu")
    for owner, attribute in ((F, name), (torch, name), (Tensor, name), (torch, f"{name}_"), (Tensor, f"{name}_"))
    if (function := getattr(owner, attribute, None)) is not None
}
WEIGHTED: dict[Callable[..., Any], bool] = {  # functions that carry a weight; whether the channels stand on axis 1
    **{getattr(F, name): True for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")},
    F.linear: False,
    F.bilinear: False,
}
ATTENTION: dict[Callable[..., Any], tuple[int, ...]] = {  # where their weights stand: what they call inside is not seen
    F.scaled_dot_product_attention: (),
    F.multi_head_attention_forward: (5, 11),
}
PASSING: dict[Callable[..., Any], int] = {
    F.batch_norm: 3,
    F.layer_norm: 2,
    F.group_norm: 2,
}  # the position of their weight; they keep the layout


class Sites:
    """Statistics of the activations of one forward pass, by site; only numbers are kept.

    A site that runs again in the same pass (a loop over time) is measured at its first call. An activation module that runs again behind
    another layer is another site there: ``"net.2 → net.1 (ReLU)"``.

    Attributes:
        found: The numbers of `statistics` by site, in the order of the forward pass.
        inside: How many activation modules are running: functions that they call are not sites of their own.
        last: The layer that ran last, as far as a function mode sees it.
        channels_first: Whether the channels of its output stand on axis 1.
        error: What failed in measuring: it is not raised in the midst of somebody's forward pass.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A forward pass begins: forget the one before."""
        self.found: dict[str, Statistics] = {}
        self.inside = 0
        self.last, self.channels_first = "input", False
        self.error: Exception | None = None
        self._behind: dict[str, str] = {}

    def leave(self, label: str, output: Any, kind: str) -> None:
        """Measure the output of an activation module."""
        behind = self._behind.setdefault(label, self.last)
        self.see(label if behind == self.last else f"{self.last} → {label}", output, kind)

    def see(self, label: str, output: Any, kind: str, channels_first: bool | None = None) -> None:
        """Measure the output of a site, unless it was seen in this pass already; by default four axes mean a convolution."""
        if label in self.found or not isinstance(output, Tensor) or self.error is not None:
            return
        try:
            with torch._C.DisableTorchFunction():  # what measures is not to be watched itself
                if output.is_floating_point() and output.numel() > 0 and not output.is_sparse:
                    self.found[label] = statistics(output, kind, output.dim() > 3 if channels_first is None else channels_first)
        except Exception as error:
            self.error = error


class Enter:
    """Forward pre-hook: what the activation module calls inside is its own doing."""

    def __init__(self, sites: Sites) -> None:
        self.sites = sites

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        self.sites.inside += 1


class Leave:
    """Forward hook of an activation module."""

    def __init__(self, sites: Sites, label: str, kind: str) -> None:
        self.sites, self.label, self.kind = sites, label, kind

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.sites.inside = max(0, self.sites.inside - 1)
        if not (recomputing() or transformed()):
            self.sites.leave(self.label, output, self.kind)


def recomputing() -> bool:
    """Whether this runs inside a backward pass, as activation checkpointing does."""
    return bool(torch._C._current_graph_task_id() != -1)


def compiled(module: nn.Module) -> list[str]:
    """Names of modules of which ``torch.compile`` holds all or a method: later hooks are not seen there, modes make it compile again."""
    return [
        clean(name) or type(child).__name__
        for name, child in module.named_modules()
        if type(child).__name__ == "OptimizedModule"
        or getattr(child, "_compiled_call_impl", None) is not None
        or any(isinstance(v, FunctionType) and hasattr(v, "_torchdynamo_orig_callable") for v in vars(child).values())
    ]


def activation_modules(module: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Activation modules by label, such as ``"net.1 (ReLU)"``, with the name of their function."""
    return {
        f"{clean(name)} ({type(child).__name__})": (child, MODULES[type(child)])
        for name, child in module.named_modules()
        if type(child) in MODULES
    }


Hooks = Sequence[tuple[nn.Module, Enter, Leave]]


def hooks(modules: Mapping[str, tuple[nn.Module, str]], sites: Sites) -> Hooks:
    """Hooks for activation modules, to be called before and after their forward pass, that write to ``sites``."""
    return [(module, Enter(sites), Leave(sites, label, kind)) for label, (module, kind) in modules.items()]


def attach(hooks: Hooks) -> list[RemovableHandle]:
    """Put hooks on their modules; the caller removes them."""
    handles = []
    for module, enter, leave in hooks:
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    return handles


class FunctionSites:
    """Functional activations as sites, seen through `WatchCalls`; their label is the layer before them: ``"fc1 → relu"``.

    Args:
        sites: Where to write.
        names: Name of the owner of each weight, by the weight's ``id``.
    """

    def __init__(self, sites: Sites, names: Mapping[int, str]) -> None:
        self.sites, self.names = sites, names

    def seen(self) -> dict[Callable[..., Any], See]:
        """Which functions to look at, for `WatchCalls`."""
        looked_at: list[tuple[Mapping[Callable[..., Any], Any], See]] = [
            (ATTENTION, self.attention),
            (FUNCTIONS, self.activation),
            (PASSING, self.norm),
            (WEIGHTED, self.layer),
            (LAYERS, self.recurrence),
            (CELLS, self.recurrence),
        ]
        return {function: see for functions, see in looked_at for function in functions}

    def layer(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        """A function that carries a weight was called."""
        if len(args) > 1:
            self.sites.last, self.sites.channels_first = self.names.get(id(args[1]), self.sites.last), WEIGHTED[func]

    def recurrence(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        """A recurrent layer or cell was called: its hidden states are an activation, or its gates are."""
        sites, weight = self.sites, weight_of(func, args)
        if weight is None or recomputing():
            return
        sites.last, sites.channels_first = self.names.get(id(weight), sites.last), False
        gated = (CELLS if func in CELLS else LAYERS)[func] in ("lstm", "gru")
        label = f"{sites.last} → {'gates' if gated else 'states'}"
        if label in sites.found or sites.error is not None:
            return
        try:
            with torch._C.DisableTorchFunction():
                found = inside(func, args, output)
        except Exception as error:
            sites.error = error
            return
        if found is not None:
            sites.see(label, *found, channels_first=False)

    def norm(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        """A normalisation was called."""
        weight = args[PASSING[func]] if len(args) > PASSING[func] else kwargs.get("weight")
        self.sites.last = self.names.get(id(weight), self.sites.last)

    def activation(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        """An activation was called."""
        sites = self.sites
        if not sites.inside and not recomputing():
            sites.see(f"{sites.last} → {FUNCTIONS[func]}", output, FUNCTIONS[func], sites.channels_first)

    def attention(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        """What attention gives, and its weights (a mean over heads) where they are asked for."""
        if recomputing():
            return
        sites = self.sites
        owner = next((self.names[id(args[i])] for i in ATTENTION[func] if len(args) > i and id(args[i]) in self.names), sites.last)
        sites.last, sites.channels_first = owner.removesuffix(".out_proj"), False
        value, shares = output if isinstance(output, tuple) else (output, None)
        sites.see(f"{sites.last} → softmax", shares, "softmax")
        sites.see(f"{sites.last} → attention", value, "attention")


def weight_names(module: nn.Module) -> dict[int, str]:
    """Name of the owning module of each weight, by the weight's ``id``."""
    return {id(p): clean(name) or type(module).__name__ for name, child in module.named_modules() for p in child.parameters(recurse=False)}
