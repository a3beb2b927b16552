"""What is said of predictions, against counting by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diagnose.measure.losses import LossCall
from diagnose.measure.outputs import describe, frequencies, score, spread
from diagnose.measure.watched_losses import watch_losses


def call_of(loss: nn.Module, input: Tensor, target: Tensor) -> LossCall:
    with watch_losses() as watch:
        loss(input, target)
    return watch.calls[0]


def test_classes() -> None:
    scores = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [5.0, 1.0]])
    numbers = describe(call_of(nn.CrossEntropyLoss(), scores, torch.tensor([0, 1, 1, 1])))
    assert numbers["accuracy"] == 0.5
    assert numbers["top_share"] == 0.75
    assert numbers["target_top_share"] == 0.75


@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("kind", ["cross_entropy", "nll_loss"])
def test_rows_without_a_target_do_not_count(ignored: int, kind: str) -> None:
    torch.manual_seed(0)
    scores, target = torch.randn(6, 4, 9).log_softmax(1), torch.randint(0, 4, (6, 9))
    target[0] = ignored
    loss = nn.CrossEntropyLoss(ignore_index=ignored) if kind == "cross_entropy" else nn.NLLLoss(ignore_index=ignored)
    numbers = describe(call_of(loss, scores, target))
    kept = target.reshape(-1) != ignored
    rows, hard = scores.movedim(1, 2).reshape(-1, 4)[kept], target.reshape(-1)[kept]
    assert numbers["accuracy"].item() == pytest.approx((rows.argmax(1) == hard).float().mean().item())
    assert numbers["top_share"].item() == pytest.approx(rows.argmax(1).bincount().max().item() / len(rows))
    assert numbers["target_top_share"].item() == pytest.approx(hard.bincount().max().item() / len(rows))


@pytest.mark.parametrize("shape", [(12, 5), (12, 5, 3), (5,)])
def test_targets_may_be_probabilities(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    scores, target = torch.randn(shape), torch.randn(shape).softmax(1 if len(shape) > 1 else 0)
    numbers = describe(call_of(nn.CrossEntropyLoss(), scores, target))
    axis = 1 if len(shape) > 1 else 0
    assert numbers["accuracy"].item() == pytest.approx((scores.argmax(axis) == target.argmax(axis)).float().mean().item())


def test_of_many_scores_evenly_spaced_rows_are_looked_at() -> None:
    scores = torch.zeros(8000, 500)
    scores[:, 3] = 1
    numbers = describe(call_of(nn.CrossEntropyLoss(), scores, torch.arange(8000) % 500))
    assert numbers["top_share"] == 1
    assert numbers["target_top_share"].item() == pytest.approx(1 / 125)


@pytest.mark.parametrize("shape", [(9,), (9, 1)])
@pytest.mark.parametrize("loss", [nn.BCELoss, nn.BCEWithLogitsLoss, nn.SoftMarginLoss])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_two_classes(loss: type[nn.Module], shape: tuple[int, ...], reduction: str) -> None:
    torch.manual_seed(0)
    p, yes = torch.rand(shape), (torch.rand(shape) > 0.3).float()
    made = loss(reduction=reduction)
    call = call_of(made, p if loss is nn.BCELoss else p.logit(), 2 * yes - 1 if loss is nn.SoftMarginLoss else yes)
    numbers, sums = describe(call), score(call)
    right, said, true = ((p > 0.5) == (yes > 0)).sum(), (p > 0.5).sum(), yes.sum()
    assert numbers["accuracy"].item() == pytest.approx(right.item() / 9)
    assert numbers["top_share"].item() == pytest.approx(max(said, 9 - said).item() / 9)
    assert numbers["target_top_share"].item() == pytest.approx(max(true, 9 - true).item() / 9)
    assert sums["n"] == 9
    assert sums["right"] == right
    assert sums["predicted"].tolist() == [9 - said, said]
    assert sums["actual"].tolist() == [9 - true, true]
    assert call.value is not None
    assert sums["loss"].item() == pytest.approx(call.value.mean().item() * 9, rel=1e-5)


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


def test_a_batch_without_any_target_adds_nothing() -> None:
    call = call_of(nn.CrossEntropyLoss(), torch.randn(3, 4), torch.full((3,), -100))
    assert call.value is not None
    assert call.value.isnan()
    assert all(value.abs().sum() == 0 for value in score(call).values())


def test_a_loss_that_names_no_prediction_gives_nothing() -> None:
    call = LossCall("ctc_loss", torch.zeros(3), None)
    assert describe(call) == {}
    assert score(call) == {}


def test_spread_of_one_row_is_nothing() -> None:
    assert spread(torch.ones(1, 3)) == 0


def test_classes_outside_are_not_counted() -> None:
    assert frequencies(torch.tensor([0, 2, 5, -1]), 3).tolist() == [1, 0, 1]
