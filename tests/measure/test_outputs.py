"""What is said of predictions, against counting by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diagnose.measure.losses import LossCall, watch_losses
from diagnose.measure.outputs import describe, frequencies, score, spread


def call_of(loss: nn.Module, input: Tensor, target: Tensor) -> LossCall:
    with watch_losses() as calls:
        loss(input, target)
    return calls[0]


def test_classes() -> None:
    scores = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [5.0, 1.0]])
    numbers = describe(call_of(nn.CrossEntropyLoss(), scores, torch.tensor([0, 1, 1, 1])))
    assert numbers["accuracy"] == 0.5
    assert numbers["top_share"] == 0.75
    assert numbers["target_top_share"] == 0.75


def test_values() -> None:
    numbers = describe(call_of(nn.MSELoss(), torch.ones(6), torch.arange(6.0)))
    assert numbers["std"] == 0
    assert numbers["target_std"] == pytest.approx(torch.arange(6.0).std(correction=0).item())


def test_several_labels() -> None:
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    numbers = describe(call_of(nn.BCEWithLogitsLoss(), torch.full((3, 2), -1.0), target))
    assert numbers["accuracy"] == 0.5
    assert numbers["std"] == 0
    assert "top_share" not in numbers


def test_batches_add_up_to_the_whole() -> None:
    scores, target = torch.randn(50, 4), torch.randint(0, 4, (50,))
    loss = nn.CrossEntropyLoss()
    whole = score(call_of(loss, scores, target))
    parts = [score(call_of(loss, scores[i : i + 7], target[i : i + 7])) for i in range(0, 50, 7)]
    for name, value in whole.items():
        assert torch.allclose(torch.stack([part[name] for part in parts]).sum(0), value, atol=1e-4), name
    assert whole["loss"] / whole["n"] == pytest.approx(loss(scores, target).item(), rel=1e-5)


def test_a_loss_that_names_no_prediction_gives_nothing() -> None:
    call = LossCall("ctc_loss", torch.zeros(3), None)
    assert describe(call) == {}
    assert score(call) == {}


def test_spread_of_one_row_is_nothing() -> None:
    assert spread(torch.ones(1, 3)) == 0


def test_classes_outside_are_not_counted() -> None:
    assert frequencies(torch.tensor([0, 2, 5, -1]), 3).tolist() == [1, 0, 1]
