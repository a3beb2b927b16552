"""Steps that use the transforms of torch.func, inside of which tensors hold no numbers, are looked at from outside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import diagnose
from diagnose.callbacks import Doctor
from tests.callbacks.plain_training import Net, data, fit


class Samplewise(Net):
    """Gradients of each sample beside the loss."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        weights: dict[str, Tensor] = dict(self.named_parameters())

        def one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(torch.func.functional_call(self, weights, x[None]), y[None])

        each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))(weights, *batch)
        return F.cross_entropy(self(batch[0]), batch[1]) + 0.1 * torch.stack([g.var(0).mean() for g in each.values()]).sum()


class Mapped(Net):
    """A loss that exists only inside of a transform, for weights that it is given."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        def one(weights: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(torch.func.functional_call(self, weights, batch[0]), batch[1])

        pull: Any = torch.func.vjp(one, dict(self.named_parameters()))[1]
        (slopes,) = pull(torch.ones(()))
        members = {name: torch.stack([p, p + 0.01 * slopes[name].detach()]) for name, p in self.named_parameters()}
        return torch.func.vmap(one)(members).mean()


@pytest.mark.parametrize("kind", [Samplewise, Mapped])
def test_nothing_fails_and_no_weight_is_called_unused(kind: type[Net]) -> None:
    found = diagnose.check(kind(), data(), data(), strict=True, patience=1.0)
    assert [f.code for f in found.findings if f.code.startswith("M")] == []
    doctor = Doctor(every_n_steps=1, strict=True)
    fit(kind(), doctor, val=data())
    assert len(doctor.record.series("train/loss")) == 10
