"""One trunk with several heads: an ensemble whose members share all but their last layer."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.models.learner import Learner


class Heads(nn.Module):
    """Linear layers side by side in place of one, each with weights of its own.

    Args:
        layer: The one that they replace.
        count: How many.

    Attributes:
        chosen: The head that answers alone; ``None`` for all of them.
    """

    def __init__(self, layer: nn.Linear, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(count))
        for own in self.layers:
            assert isinstance(own, nn.Linear)
            own.reset_parameters()
        self.chosen: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape ``(heads, n, ..., outputs)``, of a chosen head ``(n, ..., outputs)``."""
        if self.chosen is not None:
            own: Tensor = self.layers[self.chosen](x)
            return own
        return torch.stack([layer(x) for layer in self.layers])


def with_heads(net: nn.Module, count: int) -> Heads:
    """Replace the last linear layer of a network by `Heads`.

    Raises:
        ValueError: Fewer than two heads, or no linear layer at the end.
    """
    if count < 2:
        raise ValueError(f"an ensemble needs at least two heads, got {count!r}")
    name = str(len(net) - 1) if isinstance(net, nn.Sequential) else "output"
    last = getattr(net, name, None)
    if not isinstance(last, nn.Linear):
        raise ValueError("the network has no linear layer at its end that several heads could replace")
    heads = Heads(last, count)
    setattr(net, name, heads)
    return heads


class HeadedLearner(Learner):
    """A `Learner` whose network ends in `Heads`: it learns the mean of the heads' losses, and predicts by their mean probability.

    References:
        Lee et al., Why M heads are better than one: training a diverse ensemble of deep networks, arXiv:1511.06314 (2015), section 3.
    """

    @property
    def heads(self) -> Heads:
        return next(child for child in self.net.modules() if isinstance(child, Heads))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the mean probability of all heads, or their mean value; of a chosen head its own."""
        output: Tensor = self.net(x)
        if self.heads.chosen is not None:
            return output
        if self.task == "values":
            return output.mean(0)
        if output.shape[-1] == 1:
            return torch.logsumexp(F.logsigmoid(output), 0) - torch.logsumexp(F.logsigmoid(-output), 0)
        return torch.logsumexp(output.log_softmax(-1), 0) - math.log(len(output))

    def _step(self, batch: tuple[Tensor, Tensor], stage: str) -> tuple[Tensor, Tensor]:
        if stage != "train" or self.heads.chosen is not None:
            return super()._step(batch, stage)
        x, y = batch
        outputs: Tensor = self.net(x)
        measured = [self._measure(output, x, y) for output in outputs]
        logged = {f"train/{name}": torch.stack([values[name] for _, values in measured]).mean() for name in measured[0][1]}
        loss = torch.stack([loss for loss, _ in measured]).mean()
        self.log_dict({"train/loss": loss, **logged}, on_step=False, on_epoch=True, batch_size=len(y))
        return loss, outputs
