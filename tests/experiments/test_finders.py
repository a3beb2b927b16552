"""Range test and batch sizes on modules whose answers are known; what they look at stays as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.record import Record
from tests.experiments.odd import Classifier, loaders


class Quadratic(LightningModule):
    """Half the squared distance of the weights to each sample, times a curvature: gradient descent diverges above 2 / curvature."""

    def __init__(self, curvature: float = 1.0, start: float = 3.0, size: int = 20) -> None:
        super().__init__()
        self.curvature, self.w = curvature, nn.Parameter(torch.full((size,), start))

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        return self.curvature / 2 * (self.w - batch[0]).square().sum(1).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Noise(Quadratic):
    """A loss that no step changes."""

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        return 0 * self.w.sum() + batch[0].mean()


def points(count: int = 512, noise: float = 1.0, batch: int = 16) -> DataLoader[Any]:
    x = noise * torch.randn(count, 20, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x), batch_size=batch, shuffle=True)


@pytest.mark.parametrize("curvature", [1.0, 30.0])
def test_the_edge_of_a_noisy_quadratic(curvature: float) -> None:
    record = Record()
    found = diagnose.lr_range(Quadratic(curvature), points(), record=record, low=1e-5, high=100)
    assert found.edge is not None
    assert found.suggestion is not None
    assert 0.5 < found.edge * curvature / 2 < 4
    assert 0.02 / curvature < found.suggestion < 1 / curvature
    assert found.own == 0.01
    assert record.facts["probe.lr_range"]["suggestion"] == found.suggestion


def test_a_loss_of_pure_noise_gives_no_suggestion() -> None:
    found = diagnose.lr_range(Noise(), points())
    assert found.suggestion is None
    assert "the loss never falls clearly" in found.reason


def test_the_noise_scale_of_a_quadratic_is_the_variance_over_the_squared_distance() -> None:
    found = diagnose.batch_size(Quadratic(start=2.0), points(), seconds=0.2)
    assert found.noise.value == pytest.approx(20 / (20 * 4), rel=0.25)  # 20 variances of 1, 20 distances of 2
    assert found.own == 16
    assert found.samples == 512
    assert diagnose.batch_size(Quadratic(start=0.0), points(), seconds=0.2).noise.value is None


def test_what_fits_follows_the_memory() -> None:
    class Wide(Classifier):
        def __init__(self) -> None:
            super().__init__(nn.Linear(8, 1024), nn.Tanh(), nn.Linear(1024, 3))

    found = {m: diagnose.batch_size(Wide(), loaders()[0], memory=m * 2**20, seconds=0.1) for m in (64, 128)}
    assert 4096 <= found[64].per_sample <= 3 * 4096  # the outputs of Tanh are kept: 1,024 floats
    assert found[64].fixed == 4 * (8 * 1024 + 1024 + 1024 * 3 + 3) * 4 + 4 * 4  # weights, gradients, two moments; Adam counts steps
    assert found[128].fits in (2 * (found[64].fits or 0), 4 * (found[64].fits or 0))
    assert list(found[64].sizes) == [2**k for k in range(1, len(found[64].sizes) + 1)]


def test_everything_stays_as_it_was() -> None:
    torch.manual_seed(3)
    module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    loader, _ = loaders()
    module(torch.randn(4, 8)).sum().backward()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    grads = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    diagnose.lr_range(module, loader)
    diagnose.batch_size(module, loader, seconds=0.1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in state.items())
    assert all(torch.equal(g, p.grad) for g, p in zip(grads, module.parameters(), strict=True) if p.grad is not None)
    assert module.training


class Manual(Quadratic):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class Frozen(Quadratic):
    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx).detach()


class Raising(Quadratic):
    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        raise KeyError("image")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Manual(), "manual optimisation: the module takes its own steps"),
        (Frozen(), "training_step gave no loss with a gradient"),
        (Raising(), "a step raised KeyError: 'image'"),
    ],
)
def test_what_cannot_be_tried_is_not_run_with_the_reason(module: LightningModule, text: str) -> None:
    record = Record()
    assert text in diagnose.lr_range(module, points(), record=record).reason
    assert text in record.missing["probe.lr_range"]
    assert text in diagnose.batch_size(module, points()).reason


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected rates 0 < low < high, got low=1.0 and high=0.1"):
        diagnose.lr_range(Quadratic(), points(), low=1.0, high=0.1)
    with pytest.raises(ValueError, match="expected at least 20 steps and one seed, got steps=5 and seeds=3"):
        diagnose.lr_range(Quadratic(), points(), steps=5)
    with pytest.raises(ValueError, match=r"expected memory and seconds above 0, got memory=0 and seconds=10.0"):
        diagnose.batch_size(Quadratic(), points(), memory=0)
    with pytest.raises(TypeError, match=r"expected a LightningModule of .* got torch.nn.modules.linear.Linear"):
        diagnose.lr_range(nn.Linear(2, 2), points())  # type: ignore[arg-type]
