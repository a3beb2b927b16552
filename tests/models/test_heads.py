"""Several heads on one trunk: their loss, their mean and what each says alone, written out."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from diagnose.ensemble import heads
from diagnose.models.heads import HeadedLearner, Heads, with_heads
from diagnose.models.networks import autoencoder, mlp
from diagnose.models.sequences import gru


def learner(outputs: int = 3, task: str = "classes", **options: Any) -> HeadedLearner:
    torch.manual_seed(0)
    net = mlp((4,), outputs, hidden=[5], norm="none", dropout=0.0)
    with_heads(net, 3)
    made = HeadedLearner(net, partial(torch.optim.SGD, lr=0.1), task=task, **options)
    made.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    return made


def test_the_loss_is_the_mean_of_the_losses_of_the_heads() -> None:
    made, x, y = learner(), torch.randn(8, 4), torch.randint(3, (8,))
    trunk = made.net[:-1](x)  # type: ignore[index]
    expected = torch.stack([nn.functional.cross_entropy(head(trunk), y) for head in made.heads.layers]).mean()
    assert made.training_step((x, y), 0).item() == pytest.approx(expected.item(), abs=1e-6)


def test_they_predict_by_their_mean_probability_and_alone_when_asked() -> None:
    made, x = learner(), torch.randn(8, 4)
    each = torch.stack([head(made.net[:-1](x)) for head in made.heads.layers])  # type: ignore[index]
    assert torch.allclose(made(x).softmax(-1), each.softmax(-1).mean(0), atol=1e-6)
    for k, member in enumerate(heads(made)):
        with member.inside():
            assert torch.equal(made(x), each[k])
    assert made.heads.chosen is None
    assert not torch.allclose(each[0], each[1])


def test_one_output_and_values_have_means_too() -> None:
    x = torch.randn(8, 4)
    binary = learner(1, loss=nn.BCEWithLogitsLoss())
    each = torch.stack([head(binary.net[:-1](x)) for head in binary.heads.layers])  # type: ignore[index]
    assert torch.allclose(binary(x).sigmoid(), each.sigmoid().mean(0), atol=1e-6)
    values = learner(2, "values", target_scale=((0.0, 0.0), (1.0, 1.0)))
    each = torch.stack([head(values.net[:-1](x)) for head in values.heads.layers])  # type: ignore[index]
    assert torch.allclose(values(x), each.mean(0))


def test_networks_that_end_in_a_linear_layer_take_heads() -> None:
    net = gru((6,), 4, vocabulary=4, width=8)
    with_heads(net, 2)
    assert isinstance(net.output, Heads)
    assert net(torch.zeros(3, 6, dtype=torch.long)).shape == (2, 3, 6, 4)
    with pytest.raises(ValueError, match="the network has no linear layer at its end"):
        with_heads(autoencoder((12,), 12, code=2), 2)
    with pytest.raises(ValueError, match="an ensemble needs at least two heads, got 1"):
        with_heads(mlp((4,), 3), 1)
    with pytest.raises(ValueError, match="Linear has no heads: its network ends in one layer"):
        heads(nn.Linear(2, 2))  # type: ignore[arg-type]
