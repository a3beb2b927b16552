"""Losses written by hand beside others, and that watching them changes and holds nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.measure.watched_losses import watch_losses
from tests.measure.test_written_losses import LABEL, MASK, NET, ROWS, X, Y, run


def test_functions_of_torch_come_first() -> None:
    for text in (
        "F.mse_loss(p, y) + ((p - y) ** 2).mean()",
        "F.smooth_l1_loss(p, y)",
        "F.gaussian_nll_loss(p, y, p.exp())",
        "F.kl_div(logp, y, reduction='batchmean')",
    ):
        watch, loss, _ = run(text)
        assert watch.every(loss) == watch.calls
        assert len(watch.calls) == 1
    watch, loss, _ = run("(F.mse_loss(p.detach(), y), ((p - y) ** 2).mean())[1]")  # a metric
    call = watch.primary(loss)
    assert call is not None
    assert call.written


def test_a_teacher_beside_the_labels() -> None:
    watch, loss, _ = run("-logp[ROWS, label].mean() - (y.softmax(1) * logp).sum(1).mean()")
    assert [c.kind for c in watch.every(loss)] == ["nll_loss"]


def test_manual_optimisation_shows_what_is_differentiated() -> None:
    with watch_losses() as watch:
        ((NET(X) - Y) ** 2).mean().backward()
    NET.zero_grad()
    assert [c.kind for c in watch.every()] == ["mse_loss"]


def test_watching_changes_no_gradient() -> None:
    def gradient() -> Tensor:
        NET.zero_grad()
        loss = ((NET(X) - Y) ** 2 * MASK).sum() / MASK.sum() - NET(X).log_softmax(1)[ROWS, LABEL].mean()
        loss.backward()
        assert NET.weight.grad is not None
        return NET.weight.grad.clone()

    alone = gradient()
    with watch_losses() as watch:
        watched = gradient()
    assert {c.kind for c in watch.every()} == {"mse_loss", "nll_loss"}
    assert torch.equal(alone, watched)
    NET.zero_grad()


def test_nothing_is_held_after_clearing() -> None:
    watch, _, _ = run("((p - y) ** 2).mean() - logp[ROWS, label].mean()")
    assert watch.written.noted
    watch.written.clear()
    assert not watch.written.noted


def test_transforms_of_functions_and_sparse_tensors_are_passed_over() -> None:
    with watch_losses() as watch:
        slope = torch.func.vmap(torch.func.grad(lambda x: (NET(x) - 1.0 * x.detach().sum()).square().mean()))(X)
        sparse = torch.sparse.mm(torch.eye(16).to_sparse(), NET(X)) - Y
        loss = (slope.detach()[:, :4] * NET(X)).sum() + sparse.square().mean()
    assert [c.kind for c in watch.every(loss)] == ["mse_loss"]


def test_many_terms_take_no_long_time() -> None:
    with watch_losses() as watch:
        loss: Tensor = sum(((NET(X) - Y) ** 2).mean() for _ in range(200))
    assert 1 < len(watch.every(loss)) < 64


def test_under_mixed_precision() -> None:
    with watch_losses() as watch, torch.autocast("cpu", torch.bfloat16):
        loss = ((NET(X) - Y) ** 2).mean() - NET(X).log_softmax(1)[ROWS, LABEL].mean()
    assert [c.kind for c in watch.every(loss)] == ["mse_loss", "nll_loss"]
    assert all(c.value is not None for c in watch.every(loss))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_passed_over() -> None:
    parts = [NET(X[:3]), NET(X[3:8])]
    with watch_losses() as watch:
        p = torch.nested.as_nested_tensor(parts)
        y = torch.nested.nested_tensor([Y[:3], Y[3:8]])
        loss = (torch.nested.to_padded_tensor(p - y, 0.0) ** 2).sum()
    assert watch.every(loss) == []


@pytest.mark.parametrize(("weight", "kinds"), [(0.01, ["mse_loss"]), (1.0, ["l1_loss"])])
def test_a_small_term_beside_a_loss_by_hand_is_not_what_a_step_is_judged_by(weight: float, kinds: list[str]) -> None:
    net, x, y = nn.Linear(4, 1), torch.randn(16, 4), torch.randn(16, 1)
    with watch_losses() as watch:
        p = net(x)
        loss = (p - y).pow(2).mean() + weight * F.l1_loss(p.tanh(), torch.zeros(16, 1))
    assert [c.kind for c in watch.every(loss)] == kinds
    loss.backward()  # the graph is still there
    assert net.weight.grad is not None
