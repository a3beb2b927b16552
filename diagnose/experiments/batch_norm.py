"""Whether batch norm gives in evaluation what it gave in training, up to what the batch size explains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.experiments.loaders import first_batches, first_loader
from diagnose.experiments.sandbox import Sandbox, quiet, random_state_kept, run_in_sandbox
from diagnose.measure.batch_norm import Difference, difference, memory
from diagnose.namespace import LightningDataModule, LightningModule
from diagnose.record import Record

BATCHES = 8


def measure_batch_norm(record: Record, module: LightningModule, loader: Any, *, datamodule: LightningDataModule | None = None) -> None:
    """Run a copy of a trained module over training batches in training mode, and write the fact ``batch_norm``: an entry per layer.

    An entry holds ``name``, ``momentum``, ``updates`` and ``start`` (the share of the start values that is left), ``tracked`` (whether
    there are running averages), ``frozen`` (whether the layer stood in evaluation mode), ``values`` per channel of a batch, ``batches``,
    and ``found`` and ``expected`` as `diagnose.measure.batch_norm.difference` gives them, over all batches. Nothing is written for a
    module without batch norm. The module stays as it was.

    Args:
        record: To write into.
        module: With its trained weights.
        loader: Training batches.
        datamodule: Its transfer hooks are applied to the batches.

    Raises:
        Unusable: The module cannot be copied or set up.
    """
    layers = {name: child for name, child in module.named_modules() if isinstance(child, nn.modules.batchnorm._BatchNorm)}
    if not layers:
        return
    if torch.distributed.is_available() and torch.distributed.is_initialized():  # a Trainer of its own would wait for the others
        record.skip("batch_norm", "several processes train; evaluate the checkpoint in one to measure it")
        return
    found: dict[str, list[tuple[int, Difference]]] = {name: [] for name in layers}
    frozen: set[str] = set()

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        kept = layers[name]
        carried = memory(kept.momentum, updates(kept))[1]

        def before(child: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0]
            if not child.training:
                frozen.add(name)
            elif isinstance(x, Tensor) and x.dim() > 1 and len(x) > 1 and kept.running_mean is not None and kept.running_var is not None:
                device = x.device
                running = kept.running_mean.to(device), kept.running_var.to(device)
                found[name].append((x.numel() // x.shape[1], difference(x, *running, eps=kept.eps, carried=carried)))

        return before

    def use(box: Sandbox) -> None:
        handles = [child.register_forward_pre_hook(watch(name)) for name, child in box.module.named_modules() if name in layers]
        try:
            box.remember()
            for index, batch in enumerate(box.batches):
                with torch.no_grad():
                    box.training_step(box.move(batch), index)
                box.reset()
        finally:
            for handle in handles:
                handle.remove()

    with random_state_kept(), quiet():
        batches = first_batches(loader, BATCHES)
        run_in_sandbox(module, batches, [], use, loader=first_loader(loader), datamodule=datamodule)
    record.add("batch_norm", [entry(name, child, found[name], name in frozen) for name, child in layers.items()])


def updates(layer: nn.modules.batchnorm._BatchNorm) -> int:
    """Batches that the running averages have seen."""
    return int(layer.num_batches_tracked) if layer.num_batches_tracked is not None else 0


def entry(name: str, layer: nn.modules.batchnorm._BatchNorm, found: list[tuple[int, Difference]], frozen: bool) -> dict[str, Any]:
    """What the fact holds of a layer."""
    count = updates(layer)

    def mean(values: list[float]) -> float | None:
        return math.sqrt(sum(v * v for v in values) / len(values)) if values else None

    return {
        "name": name,
        "momentum": layer.momentum,
        "updates": count,
        "start": memory(layer.momentum, count)[0],
        "tracked": layer.running_mean is not None,
        "frozen": frozen,
        "values": sorted(values for values, _ in found)[len(found) // 2] if found else None,
        "batches": len(found),
        "found": mean([d.found for _, d in found]),
        "expected": mean([d.expected for _, d in found]),
    }
