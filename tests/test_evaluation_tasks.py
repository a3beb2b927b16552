"""Evaluation beyond one class per sample: values, tokens and pixels."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import diagnose


def test_regression() -> None:
    class Line(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def test_step(self, batch: Any, batch_idx: int) -> Tensor:
            return F.mse_loss(self.layer(batch[0]).squeeze(1), batch[1].float())

    inputs = torch.randn(90, 4, generator=torch.Generator().manual_seed(1))
    target = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
    module = Line()
    found = diagnose.evaluate(module, DataLoader(TensorDataset(inputs, target), batch_size=32))
    guess = module.layer(inputs).squeeze(1).detach().numpy()
    assert found.metrics["r2"] == pytest.approx(metrics.r2_score(target.numpy(), guess), abs=1e-5)
    assert found.metrics["mae"] == pytest.approx(metrics.mean_absolute_error(target.numpy(), guess), abs=1e-5)
    assert found.confusion is None
    assert found.record.facts["evaluation"]["test"]["baseline"]["r2"] == 0.0


class Tokens(lightning.LightningModule):
    """Predicts the next token from the last one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 11))

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens = batch[0]
        scores: Tensor = self.net(tokens[:, :-1])
        return F.cross_entropy(scores.reshape(-1, 11), tokens[:, 1:].reshape(-1))


class ShiftedTokens(Tokens):
    """The same of inputs and targets that the data set has shifted."""

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch["x"]).movedim(-1, 1), batch["y"])


def test_next_tokens_are_found_by_their_targets() -> None:
    tokens = torch.randint(0, 11, (24, 9), generator=torch.Generator().manual_seed(5))
    pairs: Any = [{"x": row[:-1], "y": row[1:]} for row in tokens]
    module = Tokens()
    with torch.no_grad():
        loss = F.cross_entropy(module.net(tokens[:, :-1]).reshape(-1, 11), tokens[:, 1:].reshape(-1))
    for kind, data in ((Tokens, TensorDataset(tokens)), (ShiftedTokens, pairs)):
        found = diagnose.evaluate(kind(), DataLoader(data, batch_size=7))
        assert found.record.facts["task"]["kind"] == "next-token"
        assert found.metrics["perplexity"] == pytest.approx(float(loss.exp()), rel=1e-5)
        assert "perplexity" in repr(found)
        assert found.record.facts["evaluation"]["test"]["groups"] == 24
        assert np.array_equal(found.record.arrays["test/group"], np.repeat(np.arange(24), 8))


class Pixels(lightning.LightningModule):
    """Two classes per pixel; some pixels have no label."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 2, 1)

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1], ignore_index=9)


def test_pixels_of_one_image_belong_together() -> None:
    images = torch.rand(6, 1, 4, 4)
    labels = (images[:, 0] > 0.5).long()
    labels[2, 0] = 9
    found = diagnose.evaluate(Pixels(), DataLoader(TensorDataset(images, labels), batch_size=4))
    assert np.bincount(found.record.arrays["test/group"]).tolist() == [16, 16, 12, 16, 16, 16]
    assert found.record.facts["evaluation"]["test"]["groups"] == 6
