"""Chance and floor against brute-force minimisation of the very loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diagnose.experiments.baselines import chance, floor, uniform
from diagnose.measure.losses import LossCall
from diagnose.measure.watched_losses import watch_losses


def least(loss: Callable[[Tensor], Tensor], size: tuple[int, ...]) -> float:
    """The minimum of a convex loss over a free tensor, found by L-BFGS."""
    free = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], lr=1, max_iter=400, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(free)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(loss(free).detach())


def called(function: Any, input: Tensor, target: Tensor, **options: Any) -> LossCall:
    with watch_losses() as watch:
        function(input, target, **options)
    return watch.calls[0]


LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 2, 0, 1, 2])
SOFT = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
WEIGHT = torch.tensor([1.0, 4.0, 0.25])
CATEGORICAL: dict[str, tuple[Tensor, dict[str, Any]]] = {
    "indices": (LABELS, {}),
    "weighted": (LABELS, {"weight": WEIGHT}),
    "smoothed": (LABELS, {"label_smoothing": 0.2}),
    "smoothed and weighted": (LABELS, {"label_smoothing": 0.2, "weight": WEIGHT}),
    "ignored": (torch.tensor([0, -100, 1, 2, -100]), {}),
    "own ignore_index": (torch.tensor([0, 1, 1, 1, 0, 2]), {"ignore_index": 0}),
    "probabilities": (SOFT, {}),
    "probabilities, smoothed and weighted": (SOFT, {"label_smoothing": 0.1, "weight": WEIGHT}),
}
HARD = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
BERNOULLI: dict[str, tuple[Tensor, dict[str, Any]]] = {
    "hard": (HARD, {}),
    "soft": (HARD * 0.8 + 0.1, {}),
    "positives weighted": (HARD, {"pos_weight": torch.tensor([5.0, 100.0])}),
    "samples weighted": (HARD * 0.8 + 0.1, {"weight": torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])}),
    "one column": (HARD[:, 0], {"pos_weight": torch.tensor(3.0)}),
}


@pytest.mark.parametrize("case", CATEGORICAL)
def test_cross_entropy(case: str) -> None:
    target, options = CATEGORICAL[case]
    call = called(F.cross_entropy, torch.randn(len(target), 3), target, **options)
    wide: dict[str, Any] = {k: v.double() if isinstance(v, Tensor) else v for k, v in options.items()}
    soft = target.double() if target.is_floating_point() else target

    def loss(scores: Tensor) -> Tensor:
        return F.cross_entropy(scores.expand(len(target), 3), soft, **wide)

    assert chance(call) == pytest.approx(least(loss, (1, 3)), rel=1e-5, abs=1e-6)
    assert floor(call) == pytest.approx(least(loss, (len(target), 3)), rel=1e-5, abs=1e-6)
    assert uniform(call) == pytest.approx(float(loss(torch.zeros(1, 3, dtype=torch.float64))), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", BERNOULLI)
def test_binary_cross_entropy(case: str) -> None:
    target, options = BERNOULLI[case]
    call = called(F.binary_cross_entropy_with_logits, torch.randn(target.shape), target, **options)
    wide: dict[str, Any] = {k: v.double() for k, v in options.items()}

    def loss(scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores.expand(target.shape), target.double(), **wide)

    assert chance(call) == pytest.approx(least(loss, (1, *target.shape[1:])), rel=1e-5, abs=1e-6)
    assert floor(call) == pytest.approx(least(loss, tuple(target.shape)), abs=1e-5)
    assert uniform(call) == pytest.approx(float(loss(torch.zeros(target.shape, dtype=torch.float64))), rel=1e-5, abs=1e-6)


def test_probabilities_count_as_logits_do() -> None:
    target = HARD * 0.8 + 0.1
    plain = called(F.binary_cross_entropy, torch.full(target.shape, 0.5), target)
    logits = called(F.binary_cross_entropy_with_logits, torch.zeros(target.shape), target)
    assert (chance(plain), floor(plain), uniform(plain)) == (chance(logits), floor(logits), uniform(logits))


def test_nll_is_cross_entropy_of_log_probabilities() -> None:
    call = called(F.nll_loss, torch.zeros(10, 3).log_softmax(1), LABELS, weight=WEIGHT)
    same = called(F.cross_entropy, torch.zeros(10, 3), LABELS, weight=WEIGHT)
    assert (chance(call), floor(call), uniform(call)) == (chance(same), floor(same), uniform(same))


def test_positions_count_like_samples() -> None:
    pixels = LABELS.reshape(2, 5)
    call = called(F.cross_entropy, torch.randn(2, 3, 5), pixels)
    assert chance(call) == pytest.approx(chance(called(F.cross_entropy, torch.randn(10, 3), LABELS)) or 0)
    assert uniform(call) == pytest.approx(math.log(3))


def test_one_sample_without_a_batch_axis() -> None:
    call = called(F.cross_entropy, torch.randn(3), torch.tensor(1))
    assert (chance(call), floor(call)) == (0.0, 0.0)
    assert uniform(call) == pytest.approx(math.log(3))


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3), (40, 2, 3)])
def test_squared_and_absolute_error(shape: tuple[int, ...]) -> None:
    target = torch.randn(shape) * 3 + 7
    for function, tolerance in ((F.mse_loss, 1e-5), (F.l1_loss, 1e-3)):

        def loss(constant: Tensor, function: Any = function) -> Tensor:
            return torch.as_tensor(function(constant.expand(shape), target.double()))

        call = called(function, torch.zeros(shape), target)
        assert chance(call) == pytest.approx(least(loss, (1, *shape[1:])), rel=tolerance)
        assert floor(call) == 0.0
        assert uniform(call) is None


@pytest.mark.parametrize(("function", "options"), [(F.huber_loss, {"delta": 0.5}), (F.smooth_l1_loss, {"beta": 2.0}), (F.huber_loss, {})])
def test_huber_at_the_median_is_near_the_least(function: Any, options: dict[str, float]) -> None:
    target = torch.randn(200) * 3
    best = least(lambda constant: torch.as_tensor(function(constant.expand(200), target.double(), **options)), (1,))
    known = chance(called(function, torch.zeros(200), target, **options))
    assert known is not None
    assert best - 1e-6 <= known < 1.05 * best


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("log_input", [False, True])
def test_poisson(full: bool, log_input: bool) -> None:
    counts = torch.poisson(torch.full((400, 2), 3.0), generator=torch.Generator().manual_seed(0))
    shifts = torch.linspace(1.0, 6.0, 501)

    def loss(rate: Tensor) -> float:
        given = rate.clamp_min(1e-8).log() if log_input else rate
        return float(F.poisson_nll_loss(given.expand_as(counts), counts, log_input=log_input, full=full))

    call = called(F.poisson_nll_loss, torch.zeros_like(counts), counts, log_input=log_input, full=full)
    assert chance(call) == pytest.approx(min(loss(s) for s in shifts), abs=2e-3)
    assert floor(call) == pytest.approx(loss(counts), abs=1e-5)
    assert uniform(call) is None


def test_soft_margins_are_binary_cross_entropy() -> None:
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0])
    call = called(F.soft_margin_loss, torch.zeros(4), signs)
    assert chance(call) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert floor(call) == pytest.approx(0.0)
    assert uniform(call) == pytest.approx(math.log(2))
    tags = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert chance(called(F.multilabel_soft_margin_loss, torch.zeros(2, 2), tags)) == pytest.approx(math.log(2) / 2)


def test_hinge_over_classes_starts_at_equal_scores() -> None:
    call = called(F.multi_margin_loss, torch.randn(30, 5), torch.randint(5, (30,)), margin=2.0)
    assert chance(call) == uniform(call) == pytest.approx(2.0 * 4 / 5)
    assert floor(call) == 0.0


def test_what_is_not_known() -> None:
    call = called(F.kl_div, torch.zeros(4, 3).log_softmax(1), SOFT, reduction="batchmean")
    assert (chance(call), floor(call), uniform(call)) == (None, None, None)
    bare = LossCall("cross_entropy", torch.zeros(4, 3), None)
    assert (chance(bare), floor(bare), uniform(bare)) == (None, None, None)


def test_half_precision_is_counted_in_full() -> None:
    target = torch.randint(0, 2, (3000,)).bfloat16()
    call = called(F.binary_cross_entropy_with_logits, torch.zeros(3000).bfloat16(), target)
    share = float(target.float().mean())
    assert chance(call) == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share), abs=1e-4)
