"""Losses of every kind in healthy programs: judged rightly or ``not-run`` with the reason, never accused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from diagnose.record import Record
from tests.experiments.checked import silent
from tests.experiments.odd import Classifier, blobs

Loss = Callable[[Any, Tensor, Tensor], Tensor]


def values(n: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    return x, torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]


def counts(n: int) -> tuple[Tensor, Tensor]:
    x, y = values(n)
    return x, torch.poisson((0.7 * y + 1).exp(), generator=torch.Generator().manual_seed(0))


def sequences(n: int) -> tuple[Tensor, Tensor]:
    y = torch.randint(1, 3, (n, 4), generator=torch.Generator().manual_seed(0))
    return F.one_hot(y, 8).float().repeat_interleave(3, 1), y


def signed(n: int) -> tuple[Tensor, Tensor]:
    x, y = blobs(n)
    return x, (y > 0).float() * 2 - 1


def tags(n: int) -> tuple[Tensor, Tensor]:
    x, y = blobs(n)
    return x, torch.stack([y, torch.full_like(y, -1), torch.full_like(y, -1)], 1)


def pinball(net: Any, x: Tensor, y: Tensor) -> Tensor:
    q = torch.tensor([0.1, 0.5, 0.9])
    error = y[:, None] - net(x)
    return torch.maximum(q * error, (q - 1) * error).mean()


def ctc(net: Any, x: Tensor, y: Tensor) -> Tensor:
    scores = net(x).log_softmax(2).transpose(0, 1)
    return F.ctc_loss(scores, y, torch.full((len(x),), len(scores)), torch.full((len(x),), y.shape[1]))


def triplet(net: Any, x: Tensor, y: Tensor) -> Tensor:
    near = torch.stack([x[(y == k).nonzero()[0, 0]] for k in y])
    far = torch.stack([x[(y != k).nonzero()[0, 0]] if bool((y != k).any()) else x[0] for k in y])
    return F.triplet_margin_loss(net(x), net(near), net(far))


def same(y: Tensor) -> Tensor:
    return (y == y.roll(1, 0)).float() * 2 - 1


def density(net: Any, x: Tensor, y: Tensor) -> Tensor:
    likely: Tensor = Normal(net(x)[:, 0], net(x)[:, 1].exp()).log_prob(y)  # type: ignore[no-untyped-call]
    return -likely.mean()


def likelihood(net: Any, x: Tensor, y: Tensor) -> Tensor:
    likely: Tensor = Categorical(logits=net(x)).log_prob(y)  # type: ignore[no-untyped-call]
    return -likely.mean()


LOSSES: dict[str, tuple[Loss, Callable[[int], tuple[Tensor, Tensor]], str, str]] = {
    "multi_margin": (lambda net, x, y: F.multi_margin_loss(net(x), y), blobs, "multiclass", ""),
    "multilabel_margin": (lambda net, x, y: F.multilabel_margin_loss(net(x), y), tags, "multilabel", "the floor of multilabel_margin_loss"),
    "multilabel_soft_margin": (lambda net, x, y: F.multilabel_soft_margin_loss(net(x), F.one_hot(y, 3).float()), blobs, "multilabel", ""),
    "soft_margin": (lambda net, x, y: F.soft_margin_loss(net(x)[:, 0], y), signed, "binary", ""),
    "pinball": (pinball, values, "unknown", "no loss was found in the step"),
    "ctc": (ctc, sequences, "unknown", "the floor of ctc_loss is not known"),
    "poisson": (lambda net, x, y: F.poisson_nll_loss(net(x)[:, 0], y), counts, "regression", ""),
    "poisson rate": (lambda net, x, y: F.poisson_nll_loss(F.softplus(net(x)[:, 0]), y, log_input=False), counts, "regression", ""),
    "gaussian": (
        lambda net, x, y: F.gaussian_nll_loss(net(x)[:, 0], y, net(x)[:, 1].exp()),
        values,
        "regression",
        "the floor of gaussian_nll_loss",
    ),
    "triplet": (triplet, blobs, "unknown", "the floor of triplet_margin_loss is not known"),
    "cosine": (
        lambda net, x, y: F.cosine_embedding_loss(net(x), net(x.roll(1, 0)), same(y), margin=0.2),
        blobs,
        "unknown",
        "the floor of cosine_embedding_loss",
    ),
    "ranking": (
        lambda net, x, y: F.margin_ranking_loss(net(x)[:, 0], net(x.roll(1, 0))[:, 0], (y > y.roll(1, 0)).float() * 2 - 1),
        values,
        "unknown",
        "the floor of margin_ranking_loss",
    ),
    "divergence": (
        lambda net, x, y: F.kl_div(net(x).log_softmax(1), 0.7 * F.one_hot(y, 3) + 0.1, reduction="batchmean"),
        blobs,
        "unknown",
        "the floor of kl_div",
    ),
    "density": (density, values, "unknown", "no loss was found in the step"),
    "likelihood": (likelihood, blobs, "multiclass", ""),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_healthy_program_with_this_loss(name: str) -> None:
    loss, data, kind, reason = LOSSES[name]

    class Own(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return loss(self.net, *batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", loss(self.net, *batch))

    torch.manual_seed(0)
    module = Own(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    full = TensorDataset(*data(256))
    record: Record = silent(module, DataLoader(full, 16, shuffle=True), DataLoader(full, 64))
    assert record.facts["task"]["kind"] == kind
    if reason:
        assert reason in record.missing["probe.overfit"]
    else:
        assert record.facts["probe.overfit"]["progress"] > 0.7
