"""How far apart the directions are of embeddings that a training step compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

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
    Statistics", 2000: the mean resultant length, squared). ``embedding/pairs`` is the same of the first argument of an error or a distance
    whose other argument is a batch of vectors with a gradient as well: two embeddings that are pulled together.
    """

    writes = ("embedding/spread", "embedding/pairs")
    thorough = True

    def __init__(self) -> None:
        self.found: list[Tensor] = []
        self.pairs: list[Tensor] = []

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        why = watchable(module)
        if why:
            raise NotMonitored(why)
        self.functions = dict.fromkeys((F.cosine_similarity, F.normalize), self._see)
        self.functions |= dict.fromkeys((F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.pairwise_distance), self._see_pair)

    def _see(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        vectors = args[0] if args else next(iter(kwargs.values()), None)
        axis = args[2] if len(args) > 2 else kwargs.get("dim", 1)
        if axis in (1, -1) and embedded(vectors):
            self.found.append(scatter(vectors))

    def _see_pair(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        one, other = [*args, *kwargs.values()][:2]
        if embedded(one) and embedded(other) and one.shape == other.shape:
            self.pairs.append(scatter(one))

    def after_batch(self, module: LightningModule, outputs: Any, batch: Any, index: int) -> None:
        found = {"embedding/spread": self.found, "embedding/pairs": self.pairs}
        self.release()
        for name, values in found.items():
            if values:
                self.notes.put(name, values[0] if len(values) == 1 else torch.stack(values).max())

    def release(self) -> None:
        self.found, self.pairs = [], []


def embedded(vectors: Any) -> TypeGuard[Tensor]:
    """Whether this is a batch of vectors with a gradient."""
    if not isinstance(vectors, Tensor) or isinstance(vectors, nn.Parameter) or vectors.dim() != 2 or vectors.shape[1] < 2:
        return False
    return len(vectors) >= LEAST and vectors.requires_grad and vectors.is_floating_point()


def scatter(vectors: Tensor) -> Tensor:
    """One less the squared length of the mean direction of ``vectors``, shape ``(n, k)``."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        mean = F.normalize(vectors.detach().float(), dim=1).mean(0)
        return 1 - mean @ mean
