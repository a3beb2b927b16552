"""How far apart the directions are of embeddings that a training step compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.callbacks.instrument import Instrument, NotMonitored
from diagnose.callbacks.losses import watchable
from diagnose.namespace import LightningModule, Trainer

LEAST = 8  # samples


class Directions(Instrument):
    """``embedding/spread``: one less the squared length of the mean of the unit vectors that a measured step compares or normalises.

    Of ``F.cosine_similarity`` the first argument, of ``F.normalize`` what it is given, where that is a batch of vectors with a gradient;
    the largest of a step. It is 0 where all point the same way, and 1 where they point everywhere (Mardia and Jupp, "Directional
    Statistics", 2000: the mean resultant length, squared).
    """

    writes = ("embedding/spread",)
    thorough = True

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        why = watchable(module)
        if why:
            raise NotMonitored(why)
        self.functions = {F.cosine_similarity: self._see, F.normalize: self._see}

    def _see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        vectors = args[0] if args else next(iter(kwargs.values()), None)
        axis = args[2] if len(args) > 2 else kwargs.get("dim", 1)
        if not isinstance(vectors, Tensor) or isinstance(vectors, nn.Parameter) or vectors.dim() != 2 or axis not in (1, -1):
            return
        if len(vectors) >= LEAST and vectors.requires_grad and vectors.is_floating_point():
            with torch._C.DisableTorchFunction(), torch.no_grad():
                mean = F.normalize(vectors.detach().float(), dim=1).mean(0)
                self.found.append(1 - mean @ mean)

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        found = self.found
        self.release()
        if found:
            self.notes.put("embedding/spread", found[0] if len(found) == 1 else torch.stack(found).max())

    def release(self) -> None:
        self.found = []
