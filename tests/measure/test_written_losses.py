"""Losses written by hand are seen as the functions that they spell out, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from diagnose.experiments.baselines import chance, floor, uniform
from diagnose.measure.losses import LossCall
from diagnose.measure.outputs import mean_value
from diagnose.measure.watched_losses import WatchLosses, watch_losses

torch.manual_seed(0)
NET, ONE, X = nn.Linear(5, 4), nn.Linear(5, 1), torch.randn(16, 5)
Y, EVENT, LABEL, ROWS = torch.randn(16, 4), (torch.rand(16, 1) > 0.5).float(), torch.arange(16) % 4, torch.arange(16)
MASK, KEPT, PER_CLASS = (torch.rand(16, 4) > 0.3).float(), (ROWS < 10).float(), torch.tensor([1.0, 2.0, 3.0, 4.0])
ADVANTAGE = torch.randn(16)


def run(text: str) -> tuple[WatchLosses, Tensor, dict[str, Any]]:
    """Run a loss in the words of a step: p are predictions, q one of them, s its sigmoid, logp log-probabilities."""
    with watch_losses() as watch:
        p, q = NET(X), ONE(X)
        names = {
            **globals(),
            "Normal": Normal,
            "Categorical": Categorical,
            "p": p,
            "q": q,
            "s": q.sigmoid(),
            "logp": p.log_softmax(1),
            "y": Y,
            "e": EVENT,
            "label": LABEL,
        }
        loss = eval(text, names)
    return watch, loss, names


def seen(text: str) -> tuple[LossCall, Tensor, dict[str, Any]]:
    watch, loss, names = run(text)
    calls = watch.every(loss)
    assert len(calls) == 1, calls
    assert calls[0].written
    return calls[0], loss, names


SQUARED = [
    ("((p - y) ** 2).mean()", 1.0),
    ("(y - p).pow(2).mean()", 1.0),
    ("torch.mean(torch.square(p - y))", 1.0),
    ("((p - y) * (p - y)).mean()", 1.0),
    ("(lambda d: d * d)(p - y).mean()", 1.0),
    ("torch.subtract(p, y).square().flatten().mean()", 1.0),
    ("((p - y) ** 2).sum(1).mean()", 4.0),
    ("((p - y) ** 2).sum() / len(y)", 4.0),
    ("0.5 * ((p - y) ** 2).mean()", 0.5),
    ("(0.5 * (p - y) ** 2).sum(1).mean(0)", 2.0),
    ("((p - y) / 2).square().mean()", 0.25),
]


@pytest.mark.parametrize(("text", "factor"), SQUARED)
def test_squared_errors(text: str, factor: float) -> None:
    call, loss, names = seen(text)
    assert (call.kind, call.input is names["p"], call.target is Y, call.options["reduction"]) == ("mse_loss", True, True, "mean")
    assert call.value is not None
    assert torch.equal(call.value, loss)
    assert call.factor == pytest.approx(factor, rel=1e-5)
    expected = F.mse_loss(names["p"], Y).detach()
    assert mean_value(call) == pytest.approx(float(expected), rel=1e-5)
    assert chance(call) == pytest.approx(factor * float(Y.var(0, correction=0).mean()), rel=1e-5)
    assert floor(call) == 0


@pytest.mark.parametrize("text", ["(p - y).abs().mean()", "torch.mean(torch.abs(p - y))", "abs(p - y).mean()"])
def test_absolute_errors(text: str) -> None:
    call, _, names = seen(text)
    assert call.kind == "l1_loss"
    assert mean_value(call) == pytest.approx(float(F.l1_loss(names["p"], Y).detach()), rel=1e-6)


@pytest.mark.parametrize("text", ["((p - y) ** 2).sum()", "torch.sum((p - y) ** 2)"])
def test_sums_are_sums(text: str) -> None:
    call, _, names = seen(text)
    assert (call.options["reduction"], call.factor) == ("sum", 1.0)
    assert mean_value(call) == pytest.approx(float(F.mse_loss(names["p"], Y).detach()), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("((p - y) ** 2).mean().sqrt()", 1.0),
        ("torch.sqrt(((p - y) ** 2).mean() + 1e-8)", 1.0),
        ("((p - y) ** 2).mean() ** 0.5", 1.0),
        ("torch.norm(p - y)", 8.0),
        ("torch.linalg.vector_norm(p - y)", 8.0),
    ],
)
def test_a_root_of_squared_errors(text: str, factor: float) -> None:
    call, _, names = seen(text)
    assert (call.kind, call.root) == ("mse_loss", True)
    assert call.factor == pytest.approx(factor, rel=1e-5)
    assert mean_value(call) == pytest.approx(float(F.mse_loss(names["p"], Y).detach()), rel=1e-5)
    assert chance(call) == pytest.approx(factor * float(Y.var(0, correction=0).mean().sqrt()), rel=1e-5)


@pytest.mark.parametrize(
    "text",
    ["((p - y) ** 2 * MASK).sum() / MASK.sum()", "(((p - y) * MASK) ** 2).sum() / MASK.sum()", "((p - y) ** 2)[MASK > 0].mean()"],
)
def test_what_a_mask_leaves_out_is_no_target(text: str) -> None:
    call, loss, names = seen(text)
    assert call.target is not None
    assert torch.equal(call.target, Y[MASK > 0])
    assert torch.equal(call.input, names["p"][MASK > 0])
    assert mean_value(call) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "((p - y) ** 2 * torch.rand(16, 1)).mean()",
        "-Normal(p, 1.0).log_prob(y).mean()",
        "(p - y).norm(dim=1).mean()",
        "torch.sqrt(((p - y) ** 2).sum(1) + 1e-9).mean()",
    ],
)
def test_where_samples_weigh_differently_the_value_is_not_known(text: str) -> None:
    call, _, _ = seen(text)
    assert (call.kind, call.value, call.options["reduction"]) == ("mse_loss", None, "")
    assert mean_value(call) is None


@pytest.mark.parametrize(
    "text",
    [
        "-logp[ROWS, label].mean()",
        "-logp[range(16), label].mean()",
        "-logp.gather(1, label[:, None]).mean()",
        "-torch.gather(logp, 1, label.unsqueeze(1)).squeeze(1).mean()",
        "-(F.one_hot(label, 4) * logp).sum(1).mean()",
        "-(F.one_hot(label, 4).float() * logp).sum() / 16",
        "-torch.log(p.softmax(1)[ROWS, label] + 1e-8).mean()",
        "-p.softmax(1).log()[ROWS, label].mean()",
        "-Categorical(logits=p).log_prob(label).mean()",
    ],
)
def test_negative_log_likelihood(text: str) -> None:
    call, loss, names = seen(text)
    assert (call.kind, call.options["reduction"], call.factor) == ("nll_loss", "mean", 1.0)
    assert call.target is not None
    assert torch.equal(call.target, LABEL)
    assert torch.allclose(call.input, names["logp"], atol=1e-5)
    assert call.value is not None
    assert (
        float(call.value.detach())
        == pytest.approx(float(loss.detach()))
        == pytest.approx(float(F.nll_loss(call.input, LABEL).detach()), rel=1e-5)
    )
    assert uniform(call) == pytest.approx(1.3863, abs=1e-4)


@pytest.mark.parametrize("text", ["(p.logsumexp(1) - p[ROWS, label]).mean()", "(-p[ROWS, label] + p.exp().sum(1).log()).mean()"])
def test_scores_beside_their_normaliser_are_a_cross_entropy(text: str) -> None:
    call, loss, names = seen(text)
    assert (call.kind, call.input is names["p"]) == ("cross_entropy", True)
    assert float(loss.detach()) == pytest.approx(float(F.cross_entropy(names["p"], LABEL).detach()), rel=1e-5)
    assert call.value is not None
    assert call.value is loss


def test_probabilities_as_targets() -> None:
    call, loss, _ = seen("-(y.softmax(1) * logp).sum(1).mean()")
    assert (call.kind, call.options["reduction"]) == ("cross_entropy", "mean")
    assert call.target is not None
    assert float(loss.detach()) == pytest.approx(float(F.cross_entropy(call.input, call.target).detach()), rel=1e-5)


def test_padding_and_class_weights() -> None:
    call, _, _ = seen("-(logp[ROWS, label] * KEPT).sum() / KEPT.sum()")
    assert call.target is not None
    assert call.target.tolist() == [*LABEL[:10].tolist(), *[-100] * 6]
    call, _, _ = seen("-(logp[ROWS, label] * PER_CLASS[label]).mean()")
    assert (call.kind, call.value) == ("nll_loss", None)


def test_classes_on_the_last_axis() -> None:
    with watch_losses() as watch:
        logp = nn.Linear(5, 3)(torch.randn(4, 7, 5)).log_softmax(-1)
        labels = torch.randint(3, (4, 7))
        loss = -logp.gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean()
    call = watch.primary(loss)
    assert call is not None
    assert (call.kind, tuple(call.input.shape)) == ("nll_loss", (4, 3, 7))
    assert float(F.nll_loss(call.input, labels).detach()) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "kind", "reduction"),
    [
        ("-(e * s.log() + (1 - e) * (1 - s).log()).mean()", "binary_cross_entropy", "mean"),
        ("-((1 - e) * torch.log(1 - s + 1e-7) + e * torch.log(s + 1e-7)).mean()", "binary_cross_entropy", "mean"),
        ("-(e * s.clamp(1e-6, 1).log() + (1 - e) * (1 - s).clamp_min(1e-6).log()).sum()", "binary_cross_entropy", "sum"),
        ("-(e * s.log()).mean() - ((1 - e) * torch.log1p(-s)).mean()", "binary_cross_entropy", "mean"),
        ("-(e * F.logsigmoid(q) + (1 - e) * F.logsigmoid(-q)).mean()", "binary_cross_entropy_with_logits", "mean"),
    ],
)
def test_binary_cross_entropy(text: str, kind: str, reduction: str) -> None:
    call, loss, names = seen(text)
    assert (call.kind, call.options["reduction"], call.factor) == (kind, reduction, 1.0)
    assert torch.allclose(call.input, names["q" if "logits" in kind else "s"], atol=1e-5)
    assert call.target is not None
    assert torch.allclose(call.target, EVENT)
    assert float(loss.detach()) == pytest.approx(float(F.binary_cross_entropy(names["s"], EVENT, reduction=reduction).detach()), rel=1e-4)


def test_a_term_beside_others_has_its_own_value() -> None:
    call, loss, _ = seen("((p - y) ** 2).mean() + 3 * NET.weight.square().sum()")
    assert call.value is not None
    assert float(call.value.detach()) < float(loss.detach())
    assert call.value.requires_grad
    call, _, _ = seen("0.9 * -logp[ROWS, label].mean() + 0.1 * -logp.mean()")
    assert call.factor == pytest.approx(0.9, rel=1e-4)
    call, _, _ = seen("(0.9 * -logp[ROWS, label] - 0.1 * logp.mean(1)).mean()")
    assert call.value is None


def test_a_wrong_sign_does_not_hide_the_loss() -> None:
    for text in ("-((p - y) ** 2).mean()", "logp[ROWS, label].mean()"):
        call, loss, _ = seen(text)
        assert call.value is not None
        assert float(call.value.detach()) == pytest.approx(-float(loss.detach()))


def test_shapes_that_are_broadcast_stay_as_they_are() -> None:
    call, _, _ = seen("((q - y[:, 0]) ** 2).mean()")
    assert call.target is not None
    assert (tuple(call.input.shape), tuple(call.target.shape)) == ((16, 1), (16,))
    call, _, _ = seen("((q.T - y[:, 0]) ** 2).mean()")  # (1, 16) against (16,): nothing is repeated
    assert call.target is not None
    assert call.target.shape == call.input.shape


@pytest.mark.parametrize(
    "text",
    [
        "-(logp[ROWS, label] * ADVANTAGE).mean()",
        "-(logp[ROWS, label] * ADVANTAGE.abs()).mean()",
        "-(logp[ROWS, label] * KEPT).mean()",
        "-(Categorical(logits=p).log_prob(label) * ADVANTAGE).sum()",
        "-(lambda c: c.log_prob(c.sample()))(Categorical(logits=p)).mean()",
        "-Normal(p, p.exp()).log_prob(y).mean()",
        "((p - p.mean(0).detach()) ** 2).mean()",
        "((p[1:] - p[:-1]) ** 2).mean()",
        "((NET.weight - torch.ones(4, 5)) ** 2).sum() + q.mean()",
        "((p - torch.ones(4)) ** 2).mean()",
        "torch.exp(-((p - y) ** 2).sum(1)).mean()",
        "torch.maximum(0.9 * (p - y), -0.1 * (p - y)).mean()",
        "(((p - y) ** 2).sum(1) - ((p - y.roll(1, 0)) ** 2).sum(1) + 1).relu().mean()",
        "-(logp.exp() * logp).sum(1).mean()",
        "-((1 - logp.exp()) ** 2 * logp)[ROWS, label].mean()",
        "-logp[0, label].mean() if False else -(e * s.log()).mean()",
        "-p[ROWS, label].mean()",
        "(s - e * q).mean()",
        "p.square().mean()",
        "((p - y).abs() + 1).pow(torch.tensor([1.0, 2.0, 0.5, 2.0])).mean()",
    ],
)
def test_no_loss_of_data(text: str) -> None:
    watch, loss, _ = run(text)
    assert watch.every(loss) == []
    assert watch.primary(loss) is None


def test_a_normalisation_inside_the_network_is_no_loss() -> None:
    with watch_losses() as watch:
        h = NET(X)
        h = (h - Y.mean(0)) / ((h - Y) ** 2).mean(0).sqrt()
        loss = h.exp().mean()
    assert watch.every(loss) == []
