"""The spread of the embeddings that a step compares, against its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.callbacks import Doctor
from tests.callbacks.plain_training import Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


class Twins(Net):
    """Compares two views; keeps what it compared."""

    def __init__(self, normalised: bool) -> None:
        super().__init__(lr=0.01)
        self.normalised, self.kept = normalised, list[Tensor]()
        self.weights = nn.Parameter(torch.ones(9, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x = self(batch[0])
        self.kept.append(x.detach().clone())
        scale = F.normalize(self.weights).mean()  # no batch of embeddings
        if self.normalised:
            return (F.normalize(x, dim=-1) @ F.normalize(x.detach(), dim=1).T).mean() * scale
        return -F.cosine_similarity(x, 2 * x.detach()).mean() * scale


@pytest.mark.parametrize("normalised", [True, False])
def test_the_spread_is_one_less_the_squared_mean_of_the_unit_vectors(normalised: bool) -> None:
    doctor, module = Doctor(probes=False, every_n_steps=1), Twins(normalised)
    fit(module, doctor, loader=data(64, 8))
    kept = [k.numpy() for k in module.kept]
    units = [k / np.linalg.norm(k, axis=1, keepdims=True) for k in kept]
    series = doctor.record.series("embedding/spread")
    oracle = [1 - (u.mean(0) ** 2).sum() for u in units]
    np.testing.assert_allclose(series.value, [oracle[i] for i in series.batch], rtol=1e-4, atol=1e-6)
    assert len(series) > 3


class Pulled(Net):
    """Pulls two embeddings together, and one to its data."""

    def __init__(self, error: Callable[..., Tensor]) -> None:
        super().__init__(lr=0.01)
        self.error, self.kept = error, list[Tensor]()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = self(batch[0]), self(batch[0] + 1)
        self.kept.append(x.detach().clone())
        return self.error(x, y).mean() + self.error(input=y, target=torch.ones_like(y)).mean()


@pytest.mark.parametrize("error", [F.mse_loss, F.smooth_l1_loss])
def test_embeddings_that_an_error_pulls_together(error: Callable[..., Tensor]) -> None:
    doctor, module = Doctor(probes=False, every_n_steps=1), Pulled(error)
    fit(module, doctor, loader=data(64, 8))
    units = [F.normalize(k, dim=1).numpy() for k in module.kept]
    series = doctor.record.series("embedding/pairs")
    oracle = [1 - (units[i].mean(0) ** 2).sum() for i in series.batch]
    np.testing.assert_allclose(series.value, oracle, rtol=1e-4, atol=1e-6)


def test_steps_that_compare_nothing_have_none() -> None:
    doctor = Doctor(probes=False)
    fit(Net(), doctor, loader=data(64, 8))
    assert not {"embedding/spread", "embedding/pairs"} & set(doctor.record.names())
