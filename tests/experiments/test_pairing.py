from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.pairing import pair
from diagnose.record import Record
from tests.experiments.odd import Classifier, blobs, loaders, sandboxed

Step = Callable[[Classifier, Tensor, Tensor], Tensor]


def paired(step: Step, *tensors: Tensor) -> Record:
    class Steps(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return step(self, *batch)

    return sandboxed(Steps(), loaders(*tensors)[0], pair)


def plain(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x), y)


def mixup(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    share, partner = float(torch.rand(())), torch.randperm(len(x))
    out = net(share * x + (1 - share) * x[partner])
    return share * F.cross_entropy(out, y) + (1 - share) * F.cross_entropy(out, y[partner])


def mixup_of_three(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    p, q, t = torch.randperm(len(x)), torch.randperm(len(x)), F.one_hot(y, 3).float()
    return F.cross_entropy(net(x / 2 + x[p] / 4 + x[q] / 4), t / 2 + t[p] / 4 + t[q] / 4)


def an_unmixed_batch(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    partner = torch.randperm(len(x))  # of which nothing is taken
    out = net(1.0 * x + 0.0 * x[partner])
    return 1.0 * F.cross_entropy(out, y) + 0.0 * F.cross_entropy(out, y[partner])


@pytest.mark.parametrize("step", [plain, mixup, mixup_of_three, an_unmixed_batch])
def test_samples_that_keep_their_targets(step: Step) -> None:
    fact = paired(step).facts["probe.pairing"]
    assert (fact["samples"], fact["apart"], fact["input"], fact["target"]) == (3, 0, "batch[0]", "batch[1]")


def two_orders(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x[torch.randperm(len(x))]), y[torch.randperm(len(y))])


def rolled(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x), y.roll(1, 0))


def mixup_with_another_partner(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    p, q = torch.arange(len(x)).roll(1), torch.arange(len(x)).roll(2)
    out = net(0.7 * x + 0.3 * x[p])
    return 0.7 * F.cross_entropy(out, y) + 0.3 * F.cross_entropy(out, y[q])


@pytest.mark.parametrize("step", [two_orders, rolled, mixup_with_another_partner])
def test_samples_that_lose_their_targets(step: Step) -> None:
    fact = paired(step).facts["probe.pairing"]
    assert fact["samples"] == 3
    assert fact["apart"] >= 2  # two random orders may agree in one


def test_steps_of_a_sequence_flattened_in_two_orders() -> None:
    x, _ = blobs(128)
    x, y = x[:, None].repeat(1, 5, 1), torch.randint(3, (128, 5), generator=torch.Generator().manual_seed(0))

    def right(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(net(x).reshape(-1, 3), y.reshape(-1))

    def wrong(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(net(x.transpose(0, 1)).reshape(-1, 3), y.reshape(-1))

    assert paired(right, x, y).facts["probe.pairing"]["apart"] == 0
    assert paired(wrong, x, y).facts["probe.pairing"]["apart"] >= 2


def test_what_cannot_be_paired() -> None:
    def autoencoder(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(net(x), x[:, :3])

    def noisy(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=generator)
        return F.cross_entropy(net(x + noise), y)

    def sorted_by_input(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        return F.cross_entropy(net(x[order]), y[order])

    generator = torch.Generator().manual_seed(0)
    assert paired(sorted_by_input).facts["probe.pairing"]["apart"] == 0  # by those that keep their place
    assert "reaches the targets alone" in paired(autoencoder).missing["probe.pairing"]
    assert paired(noisy).missing["probe.pairing"] == "two runs on the same batch differ"
    assert paired(lambda net, x, y: nn.functional.cross_entropy(net(x[:8]), y[:8])).missing["probe.pairing"] == (
        "the loss does not compare rows of outputs with rows of targets"
    )
    assert paired(lambda net, x, y: net(x).square().mean()).missing["probe.pairing"] == (
        "the rows of the batch cannot be matched with those of the loss"
    )
