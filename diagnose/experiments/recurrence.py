"""How far back in time the gradient of a recurrent layer reaches before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record

AGAIN = 10  # calls in one forward pass: a loop over time


def reach_back(sandbox: Sandbox, record: Record) -> None:
    """Differentiate one loss by what recurrent layers are given at each time step.

    Writes ``probe.recurrence``: per `nn.RNN`, `nn.LSTM` and `nn.GRU` that ran once on a tensor, and per layer with weights of its own that
    ran ten times or more, as in a loop over time: ``name``, ``kind``, ``steps``, and ``reach``, the norm of the gradient with respect to
    the first tenth of the time steps over its largest norm at any step; and ``growth``, its largest norm over that of the last tenth,
    where it gets there.

    References:
        Y. Bengio, P. Simard and P. Frasconi (1994); R. Pascanu, T. Mikolov and Y. Bengio (2013), equation 5.
    """
    with _given(_weighted(sandbox.module), watch=False) as given:
        _step(sandbox)
    if given:
        with _given([(name, child) for name, child, _ in given]) as given:
            loss = _step(sandbox)
    if not given:
        record.skip("probe.recurrence", "no recurrent layer ran on a tensor with a batch axis, and no layer ran again and again")
        return
    if loss is None or not loss.requires_grad:
        record.skip("probe.recurrence", "training_step returned no loss with a gradient")
        return
    given = [e for e in given if all(x.requires_grad for x in e[2])]  # not those that read numbers of words
    every = [x for _, _, xs in given for x in xs]
    gradients = iter(torch.autograd.grad(loss, every, allow_unused=True))
    sandbox.reset()
    found = []
    for name, module, xs in given:
        mine = [next(gradients) for _ in xs]
        by_time = _by_time(module, mine)
        if by_time is None or not torch.isfinite(by_time).all():
            continue
        tenth = max(1, len(by_time) // 10)
        largest, early, late = float(by_time.max()), float(by_time[:tenth].max()), float(by_time[-tenth:].max())
        if largest > 0:
            fact = {"name": name, "kind": type(module).__name__, "steps": len(by_time), "reach": early / largest}
            found.append(fact | ({"growth": largest / late} if late > 0 else {}))
    record.add("probe.recurrence", found)


def _step(sandbox: Sandbox) -> Tensor | None:
    """The loss of one training step, always the same."""
    sandbox.reset()
    torch.manual_seed(0)
    return sandbox.training_step(sandbox.move(sandbox.batches[0]))[0]


def _weighted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules below this one that own parameters."""
    return [(n, c) for n, c in module.named_modules() if n and next(c.parameters(recurse=False), None) is not None]


def _by_time(module: nn.Module, gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Norm of the gradient at each time step; ``None`` where there is no gradient at all."""
    if isinstance(module, nn.RNNBase):
        whole = gradients[0]
        return None if whole is None else torch.linalg.vector_norm(whole.double(), dim=(0, 2) if module.batch_first else (1, 2))
    if all(g is None for g in gradients):
        return None
    return torch.tensor([0.0 if g is None else float(g.double().norm()) for g in gradients])


@contextmanager
def _given(layers: list[tuple[str, nn.Module]], watch: bool = True) -> Iterator[list[tuple[str, nn.Module, list[Tensor]]]]:
    """Those of the layers that stand for steps in time, with what each was given: one tensor over all steps, or one per call in a loop.

    With ``watch`` what they were given is a part of the graph.
    """
    given: dict[str, tuple[str, nn.Module, list[Tensor]]] = {}

    def hook(name: str) -> Any:
        def before(child: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not args or not isinstance(args[0], Tensor) or (isinstance(child, nn.RNNBase) and args[0].dim() != 3):
                return None
            x = args[0]
            if watch and not x.requires_grad and x.is_floating_point():
                x = x.detach().requires_grad_()
            given.setdefault(name, (name, child, []))[2].append(x if watch else x.new_empty(0))
            return (x, *args[1:])

        return before

    handles = [child.register_forward_pre_hook(hook(name)) for name, child in layers]
    found: list[tuple[str, nn.Module, list[Tensor]]] = []
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        found += [e for e in given.values() if (len(e[2]) == 1 if isinstance(e[1], nn.RNNBase) else len(e[2]) >= AGAIN)]
