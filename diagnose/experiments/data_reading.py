"""Reading a loader without leaving a trace: in this process and bounded."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagnose.experiments.batches import leaves
from diagnose.experiments.data_copies import Unreadable, generators_kept
from diagnose.experiments.data_sample import Sample
from diagnose.experiments.loader_batches import batches_of
from diagnose.experiments.sandbox import random_state_kept

BYTES = 1 << 27  # bytes kept of one loader


def read(loaders: Any, *, batches: int, samples: int, seconds: float) -> Sample:
    """Read up to ``batches`` batches, ``samples`` rows and ``seconds`` of whatever Lightning accepts as a training loader.

    Small batches of a data set are read until there are 1024 rows. A map-style loader without shuffling is read at places spread over its
    epoch, since its first batches may be unlike the rest, and in an order that leaves them spread wherever the time ends. Data sets,
    samplers and collate functions are used as copies; generators at module level are put back.

    Raises:
        Unreadable: No loader, no batch, no tensor, a plain iterator, a stream that cannot be copied, or an error of the loader's own.
    """
    sample = Sample()
    deadline = time.monotonic() + seconds
    taken: list[tuple[int, list[int], int, list[tuple[str, Tensor]]]] = []
    count = kept = 0
    try:
        with random_state_kept(), generators_kept(loaders):
            for place, rows, batch in batches_of(loaders, sample, (batches, samples)):
                found = fields_of(batch)
                if not found:
                    raise Unreadable(f"a batch of type {type(batch).__name__} holds no tensor")
                lengths = [len(t) for _, t in found if t.dim() > 0]
                size = max(lengths, key=lengths.count, default=1)
                found = [(path, tensor) for path, tensor in found if 0 not in tensor.shape[1:]]  # not rows without columns
                taken.append((place, rows, size, found))
                count += size
                kept += sum(tensor.numel() * tensor.element_size() for _, tensor in found)
                if count >= samples or kept >= BYTES:
                    break
                if time.monotonic() > deadline:
                    sample.late = True
                    break
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"the loader raised {type(error).__name__}: {error}") from error
    if not taken:
        raise Unreadable("the loader gave no batch")
    for number, (place, rows, size, found) in enumerate(sorted(taken, key=itemgetter(0))):
        for path, tensor in found:
            sample.fields.setdefault(path, []).append(tensor)
            sample.batches.setdefault(path, []).append(number)
        sample.sizes.append(size)
        sample.places.append(place)
        sample.rows.append(rows)
    sample.late = sample.late and sample.coverage != 1.0
    if not sample.count:
        raise Unreadable("the loader's batches are empty")
    return sample


def fields_of(batch: Any) -> list[tuple[str, Tensor]]:
    """The tensors and arrays of a batch with their paths, each a dense tensor of its own on the CPU."""
    return [(path, _plain(tensor)) for path, tensor in leaves(_tensors(batch))]


def _tensors(batch: Any) -> Any:
    """Arrays as tensors, so that they are fields as well."""
    if isinstance(batch, np.ndarray):
        return torch.from_numpy(batch.copy()) if batch.dtype.kind in "biufc" else None
    if type(batch) is dict:
        return {k: _tensors(v) for k, v in batch.items()}
    return [_tensors(v) for v in batch] if type(batch) in (list, tuple) else batch


def _plain(tensor: Tensor) -> Tensor:
    """A dense tensor of its own on the CPU; half-precision floats are widened, complex numbers get a dimension of two."""
    tensor = tensor.detach().as_subclass(Tensor)
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    tensor = torch.view_as_real(tensor.cpu().resolve_conj()) if tensor.is_complex() else tensor.cpu()
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor.clone()
