"""A batch size: what fits in memory, what is fast, and what the noise of the gradient asks for."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import floor, log2
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagnose.experiments.batches import size, take
from diagnose.experiments.copying import Unusable
from diagnose.experiments.sandbox import Sandbox
from diagnose.experiments.trying import gradients, step, tried
from diagnose.measure.noise_scale import NoiseScale, knee, noise_scale
from diagnose.namespace import LightningDataModule, LightningModule, Trainer
from diagnose.record import Record

FACT = "probe.batch_size"
BATCHES = 32
ENTRIES = 250_000_000  # of the gradients that are kept side by side
SHARE = 0.8  # of the free memory that is planned with: the rest is for what a step holds for a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSizes:
    """What is known of batch sizes.

    Attributes:
        own: Samples in a batch of the loader.
        samples: Samples of the training data, ``None`` where that is not known.
        fits: The largest power of two that fits in memory, by the bytes per sample; ``None`` where they do not grow with the batch.
        memory: Bytes that were taken as free.
        per_sample: Bytes that the backward pass keeps per sample.
        fixed: Bytes of weights, gradients and the optimizer's state.
        sizes: Batch sizes that were timed.
        speeds: Samples per second of each.
        knee: The smallest of them from which no doubling brings a quarter more samples per second, ``None`` where each still does.
        noise: The gradient noise scale at the module's present weights.
        reason: Why nothing is known.
    """

    own: int = 0
    samples: int | None = None
    fits: int | None = None
    memory: int = 0
    per_sample: float = 0.0
    fixed: int = 0
    sizes: Sequence[int] = ()
    speeds: Sequence[float] = ()
    knee: int | None = None
    noise: NoiseScale = field(default_factory=NoiseScale)
    reason: str = ""


def batch_size(
    module: LightningModule,
    train_dataloaders: Any = None,
    *,
    datamodule: LightningDataModule | None = None,
    trainer: Trainer | None = None,
    record: Record | None = None,
    memory: int | None = None,
    seconds: float = 10.0,
) -> BatchSizes:
    """Find out which batch sizes fit, from which on they are no faster, and up to which the gradient is mostly noise.

    The module, its gradients and modes, the loaders and the random state are left as they were. Larger batches are made of the samples
    of the first ones.

    Args:
        module: Any LightningModule with automatic optimisation and one optimizer.
        train_dataloaders: As for ``Trainer.fit``; by default the module's own ``train_dataloader``.
        datamodule: In place of the loaders.
        trainer: The Trainer that will be used: its precision and device are taken over. It is not run.
        record: Where to keep what is found, as the fact ``probe.batch_size``.
        memory: Bytes to plan with; by default the free memory of the device.
        seconds: The most time to spend on timing steps.

    Returns:
        What was found; where nothing can be, ``reason`` says why.

    Raises:
        TypeError: ``module`` is not a LightningModule.
        ValueError: ``memory`` or ``seconds`` is not above zero.

    References:
        S. McCandlish et al., "An Empirical Model of Large-Batch Training", 2018.
    """
    if (memory is not None and memory <= 0) or seconds <= 0:
        raise ValueError(f"expected memory and seconds above 0, got memory={memory!r} and seconds={seconds!r}")
    found: list[BatchSizes] = []

    def use(sandbox: Sandbox, loader: Any) -> None:
        own = size(sandbox.batches[0])
        if not own:
            raise Unusable("the tensors of a batch share no number of samples")
        free = memory or free_memory(sandbox.module.device)
        per_sample, fixed = demand(sandbox, own)
        most = int((SHARE * free - fixed) / per_sample) if per_sample > 0 else None
        fits = None if most is None else 2 ** floor(log2(most)) if most >= 1 else 0
        count = samples(loader)
        sizes, speeds = pace(sandbox, min(n for n in (fits, count, 2**14) if n is not None), seconds)
        found.append(
            BatchSizes(
                own=own,
                samples=count,
                fits=fits,
                memory=free,
                per_sample=per_sample,
                fixed=fixed,
                sizes=sizes,
                speeds=speeds,
                knee=knee(sizes, speeds),
                noise=noise(sandbox, own),
            )
        )

    failure = tried(module, train_dataloaders, use, datamodule=datamodule, trainer=trainer, count=BATCHES)
    if record is not None:
        if failure:
            record.skip(FACT, failure)
        else:
            record.add(FACT, asdict(found[0]))
    return BatchSizes(reason=failure) if failure else found[0]


def samples(loader: Any) -> int | None:
    """Samples of the data behind a loader."""
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError, NotImplementedError):
        return None


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a device: of this machine, or of its container where that has less."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = []
    if (info := Path("/proc/meminfo")).is_file() and (line := re.search(r"MemAvailable:\s+(\d+) kB", info.read_text())):
        known.append(1024 * int(line[1]))
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()).isdigit():
        known.append(int(most) - int(used.read_text()))
    return max(1, min(known)) if known else int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def demand(sandbox: Sandbox, own: int) -> tuple[float, int]:
    """Bytes per sample that the forward pass keeps for the backward pass, and bytes that do not depend on the batch."""
    kept = []
    sizes = (max(2, own // 2), max(4, 2 * (own // 2)))
    for count in sizes:
        batch = made(sandbox.batches, count)
        seen: dict[int, int] = {}

        def pack(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            gradients(sandbox, batch)
        weights = {p.untyped_storage().data_ptr() for p in sandbox.module.parameters()}
        kept.append(sum(n for place, n in seen.items() if place not in weights))
    step(sandbox, sandbox.batches[0])
    tensors = [t for state in sandbox.optimizers[0].state.values() for t in state.values() if isinstance(t, Tensor)]
    tensors += [t for p in sandbox.module.parameters() for t in (p, p.grad) if t is not None]
    sandbox.reset()
    return max(0.0, (kept[1] - kept[0]) / (sizes[1] - sizes[0])), sum(t.numel() * t.element_size() for t in tensors)


def made(batches: Sequence[Any], count: int) -> Any:
    """A batch of so many samples: those of the first batch, again and again."""
    first = batches[0]
    return take(first, torch.arange(count) % (size(first) or 1))


def pace(sandbox: Sandbox, most: int, seconds: float) -> tuple[list[int], list[float]]:
    """Samples per second of steps with batches of 2, 4, 8 ... samples; each the fastest of five steps."""
    sizes: list[int] = []
    speeds: list[float] = []
    start = time.perf_counter()
    count = 2
    while count <= most:
        batch = made(sandbox.batches, count)
        times = []
        try:
            for _ in range(6):  # the first one warms up
                synchronise(sandbox)
                before = time.perf_counter()
                step(sandbox, batch)
                synchronise(sandbox)
                times.append(time.perf_counter() - before)
        except RuntimeError as error:
            if "memory" not in str(error).lower():
                raise
            break
        sizes.append(count)
        speeds.append(count / min(times[1:]))
        if time.perf_counter() - start + 12 * min(times) > seconds:  # the next takes about twice as long
            break
        count *= 2
    sandbox.reset()
    return sizes, speeds


def synchronise(sandbox: Sandbox) -> None:
    """Wait until the device is done with what it was given."""
    if sandbox.module.device.type == "cuda":
        torch.cuda.synchronize(sandbox.module.device)


def noise(sandbox: Sandbox, own: int) -> NoiseScale:
    """The noise scale from the gradients of batches of equal size, at the present weights."""
    sandbox.reset()
    torch.manual_seed(0)
    weights = [p for p in sandbox.module.parameters() if p.requires_grad]
    entries = sum(p.numel() for p in weights)
    equal = [b for b in sandbox.batches if size(b) == own][: max(0, ENTRIES // max(1, entries))]
    rows = []
    for index, batch in enumerate(equal):
        gradients(sandbox, batch, index)
        parts = [torch.zeros(p.numel()) if p.grad is None else p.grad.detach().to_dense().float().flatten().cpu() for p in weights]
        rows.append(torch.cat(parts) if parts else torch.zeros(0))
    sandbox.reset()
    table = torch.stack(rows) if rows else torch.zeros(0, 0)
    return noise_scale(np.asarray((table @ table.T).double()), own)
