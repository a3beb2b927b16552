from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.measure.losses import LOSSES, LossCall, class_last, predictions, primary, task
from diagnose.measure.watched_losses import watch_losses

Call = Callable[[], Any]


def watched(step: Call) -> list[LossCall]:
    with watch_losses() as watch:
        step()
    return watch.calls


X, Y = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
V = torch.randn(6, 3)
SIGN = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
CASES: dict[str, Call] = {
    "cross_entropy": lambda: F.cross_entropy(X, Y),
    "nll_loss": lambda: F.nll_loss(X.log_softmax(1), Y),
    "binary_cross_entropy": lambda: F.binary_cross_entropy(X.sigmoid(), V.sigmoid()),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(X, V.sigmoid()),
    "mse_loss": lambda: F.mse_loss(X, V),
    "l1_loss": lambda: F.l1_loss(X, V),
    "smooth_l1_loss": lambda: F.smooth_l1_loss(X, V),
    "huber_loss": lambda: F.huber_loss(X, V),
    "gaussian_nll_loss": lambda: F.gaussian_nll_loss(X, V, torch.ones(6, 3)),
    "poisson_nll_loss": lambda: F.poisson_nll_loss(X, V.abs()),
    "kl_div": lambda: F.kl_div(X.log_softmax(1), V.softmax(1), reduction="batchmean"),
    "ctc_loss": lambda: F.ctc_loss(torch.randn(5, 1, 3).log_softmax(2), torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])),
    "soft_margin_loss": lambda: F.soft_margin_loss(X, V.sign()),
    "multi_margin_loss": lambda: F.multi_margin_loss(X, Y),
    "multilabel_margin_loss": lambda: F.multilabel_margin_loss(X, torch.tensor([[0, -1, -1]] * 6)),
    "multilabel_soft_margin_loss": lambda: F.multilabel_soft_margin_loss(X, V.sigmoid().round()),
    "hinge_embedding_loss": lambda: F.hinge_embedding_loss(X[:, 0], SIGN),
    "cosine_embedding_loss": lambda: F.cosine_embedding_loss(X, V, SIGN),
    "margin_ranking_loss": lambda: F.margin_ranking_loss(X[:, 0], V[:, 0], SIGN),
    "triplet_margin_loss": lambda: F.triplet_margin_loss(X, V, X.roll(1, 0)),
    "triplet_margin_with_distance_loss": lambda: F.triplet_margin_with_distance_loss(X, V, X.roll(1, 0)),
}


def test_every_known_loss_has_a_case() -> None:
    assert set(CASES) == set(LOSSES.values())


@pytest.mark.parametrize("kind", CASES)
def test_a_call_is_seen_once_and_its_value_is_that_of_the_loss(kind: str) -> None:
    torch.manual_seed(1)
    alone = CASES[kind]()
    torch.manual_seed(1)
    (call,) = watched(CASES[kind])
    assert call.kind == kind
    assert call.value is not None
    assert torch.equal(call.value, alone)
    assert isinstance(call.target, Tensor)


def test_modules_keywords_and_options() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0])
    (call,) = watched(lambda: nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1)(target=Y, input=X))
    assert torch.equal(call.input, X)
    assert call.target is Y
    assert call.options["weight"] is weight
    assert (call.options["label_smoothing"], call.options["reduction"], call.options["ignore_index"]) == (0.1, "mean", -100)


@pytest.mark.parametrize("kind", ["hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss"])
def test_the_target_of_a_pair_is_not_its_other_half(kind: str) -> None:
    (call,) = watched(CASES[kind])
    assert call.target is SIGN


def test_nothing_is_seen_outside_and_nested_watches_see_both() -> None:
    with watch_losses() as outer:
        F.mse_loss(X, V)
        with watch_losses() as inner:
            F.l1_loss(X, V)
    F.huber_loss(X, V)
    assert [c.kind for c in outer.calls] == ["mse_loss", "l1_loss"]
    assert [c.kind for c in inner.calls] == ["l1_loss"]


def test_a_call_that_raises_is_kept_without_a_value() -> None:
    with watch_losses() as watch, pytest.raises(ValueError, match="batch_size"):
        F.cross_entropy(X, Y[:3])
    assert watch.calls[0].value is None
    assert torch.equal(watch.calls[0].input, X)


def test_watching_changes_no_gradient() -> None:
    def gradient() -> Tensor:
        x = X.clone().requires_grad_()
        (F.cross_entropy(x, Y) + x.square().mean()).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return x.grad

    plain = gradient()
    with watch_losses():
        seen = gradient()
    assert torch.equal(plain, seen)


def test_the_primary_call_is_the_one_that_is_the_loss() -> None:
    x = X.clone().requires_grad_()
    with watch_losses() as watch:
        F.mse_loss(x, V)
        loss = F.cross_entropy(x, Y)
    call = watch.primary(loss)
    assert call is not None
    assert call.kind == "cross_entropy"
    assert watch.primary(watch.calls[0].value) is watch.calls[0]


@pytest.mark.parametrize("change", [Tensor.double, Tensor.bfloat16, lambda t: t.reshape(1)])
def test_the_loss_may_have_another_dtype_or_shape(change: Callable[[Tensor], Tensor]) -> None:
    calls = watched(lambda: (F.l1_loss(X, V), F.mse_loss(X, V)))
    assert calls[1].value is not None
    assert primary(calls, change(calls[1].value)) is calls[1]


def test_of_a_sum_of_losses_the_classification_that_is_trained_is_primary() -> None:
    x = X.clone().requires_grad_()
    with watch_losses() as watch:
        total = F.mse_loss(x.repeat(9, 1), V.repeat(9, 1)) + F.cross_entropy(x, Y) + F.cross_entropy(X, Y)
    assert watch.primary(total) is watch.calls[1]


def test_without_calls_there_is_none() -> None:
    assert primary([]) is None
    assert primary([LossCall("cross_entropy", X, None)]) is None


def call_of(step: Call) -> LossCall:
    return watched(step)[0]


def test_multiclass_predictions() -> None:
    result = predictions(call_of(CASES["cross_entropy"]))
    assert result is not None
    assert (result.task, result.classes) == ("multiclass", 3)
    assert torch.equal(result.prediction, X.argmax(1))
    assert torch.equal(result.target, Y)
    assert result.probability is not None
    torch.testing.assert_close(result.probability, X.softmax(1))
    torch.testing.assert_close(result.loss, F.cross_entropy(X, Y, reduction="none"))


def test_pixels_and_ignored_positions() -> None:
    x, y = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    y[0, 0] = -100
    result = predictions(call_of(lambda: F.cross_entropy(x, y)))
    assert result is not None
    assert len(result.target) == 2 * 4 * 5 - 5
    torch.testing.assert_close(result.loss.mean(), F.cross_entropy(x, y))
    assert torch.equal(result.prediction, x.argmax(1).flatten()[y.flatten() != -100])


def test_soft_targets() -> None:
    soft = V.softmax(1)
    result = predictions(call_of(lambda: F.cross_entropy(X, soft)))
    assert result is not None
    assert torch.equal(result.target, V.argmax(1))
    torch.testing.assert_close(result.loss, F.cross_entropy(X, soft, reduction="none"))


def test_one_sample_without_a_batch_axis() -> None:
    result = predictions(call_of(lambda: F.cross_entropy(X[0], Y[0])))
    assert result is not None
    assert result.prediction.shape == result.target.shape == (1,)


def test_logistic_losses_of_other_names() -> None:
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    score = torch.tensor([2.0, 1.0, -0.5, -3.0])
    found = predictions(call_of(lambda: F.soft_margin_loss(score, signs)))
    assert found is not None
    assert (found.task, found.prediction.tolist(), found.target.tolist()) == ("binary", [1, 1, 0, 0], [1, 0, 1, 0])
    torch.testing.assert_close(found.loss, F.soft_margin_loss(score, signs, reduction="none"))
    tags = (X > 0.2).float()
    several = predictions(call_of(lambda: F.multilabel_soft_margin_loss(X, tags)))
    assert several is not None
    assert several.task == "multilabel"
    torch.testing.assert_close(several.loss, F.multilabel_soft_margin_loss(X, tags, reduction="none"))


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_binary_predictions(shape: tuple[int, ...]) -> None:
    score, target = torch.randn(shape), torch.randint(2, shape).float()
    result = predictions(call_of(lambda: F.binary_cross_entropy_with_logits(score, target)))
    assert result is not None
    assert (result.task, result.classes) == ("binary", 2)
    assert torch.equal(result.prediction, (score.flatten() > 0).long())
    assert result.probability is not None
    torch.testing.assert_close(result.probability.sum(1), torch.ones(6))
    torch.testing.assert_close(result.loss, F.binary_cross_entropy_with_logits(score, target, reduction="none").flatten())


def test_multilabel_predictions() -> None:
    target = torch.randint(2, (6, 3)).float()
    for step in (lambda: F.binary_cross_entropy(X.sigmoid(), target), lambda: F.binary_cross_entropy_with_logits(X, target)):
        result = predictions(call_of(step))
        assert result is not None
        assert (result.task, result.classes) == ("multilabel", 3)
        assert torch.equal(result.prediction, (X > 0).long())
        torch.testing.assert_close(result.loss, F.binary_cross_entropy_with_logits(X, target, reduction="none").mean(1))


def test_regression_predictions() -> None:
    flat = predictions(call_of(lambda: F.l1_loss(X[:, 0], V[:, 0])))
    assert flat is not None
    assert (flat.task, flat.classes, flat.probability) == ("regression", 0, None)
    torch.testing.assert_close(flat.loss, (X[:, 0] - V[:, 0]).square())
    wide = predictions(call_of(lambda: F.mse_loss(X.reshape(2, 3, 3), V.reshape(2, 3, 3))))
    assert wide is not None
    assert wide.prediction.shape == wide.target.shape == (2, 9)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_predictions_of_another_shape_are_held_against_their_own_targets() -> None:
    column = predictions(call_of(lambda: F.mse_loss(X[:, :1], V[:, 0])))
    assert column is not None
    torch.testing.assert_close(column.loss, (X[:, 0] - V[:, 0]).square())
    wide = predictions(call_of(lambda: F.mse_loss(X, V[:, :1])))
    assert wide is not None
    torch.testing.assert_close(wide.loss, (X - V[:, :1]).square().mean(1))


def test_scores_of_a_hinge_loss_are_no_probabilities() -> None:
    found = predictions(call_of(lambda: F.multi_margin_loss(X, Y, margin=0.5)))
    assert found is not None
    assert (found.task, found.classes, found.probability) == ("multiclass", 3, None)
    assert torch.equal(found.prediction, X.argmax(1))
    torch.testing.assert_close(found.loss.mean(), F.multi_margin_loss(X, Y, margin=0.5))


def test_a_predicted_count_is_the_rate() -> None:
    log = predictions(call_of(lambda: F.poisson_nll_loss(X, V.abs())))
    rate = predictions(call_of(lambda: F.poisson_nll_loss(X.exp(), V.abs(), log_input=False)))
    assert log is not None
    assert rate is not None
    torch.testing.assert_close(log.prediction, rate.prediction)


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("cross_entropy", (4, 3), ("multiclass", 3)),
        ("multi_margin_loss", (4, 3), ("multiclass", 3)),
        ("soft_margin_loss", (4,), ("binary", 2)),
        ("binary_cross_entropy", (4, 1), ("binary", 2)),
        ("multilabel_margin_loss", (4, 3), ("multilabel", 3)),
        ("multilabel_soft_margin_loss", (4, 3), ("multilabel", 3)),
        ("poisson_nll_loss", (4,), ("regression", None)),
        ("ctc_loss", (9, 4, 3), ("unknown", None)),
        ("triplet_margin_loss", (4, 3), ("unknown", None)),
    ],
)
def test_what_a_loss_is_about(kind: str, shape: tuple[int, ...], expected: tuple[str, int | None]) -> None:
    assert task(LossCall(kind, torch.zeros(shape), torch.zeros(shape))) == expected


def test_losses_that_name_no_prediction() -> None:
    assert predictions(call_of(CASES["triplet_margin_loss"])) is None
    assert predictions(call_of(CASES["ctc_loss"])) is None
    assert predictions(LossCall("mse_loss", X, None)) is None


def test_half_precision_is_widened() -> None:
    result = predictions(call_of(lambda: F.cross_entropy(X.bfloat16(), Y)))
    assert result is not None
    assert result.loss.dtype is torch.float32


def test_the_class_axis_is_put_last() -> None:
    x = torch.randn(2, 3, 5)
    assert torch.equal(class_last(LossCall("cross_entropy", x, None)), x.transpose(1, 2).reshape(10, 3))
    assert class_last(LossCall("cross_entropy", X[0], None)).shape == (1, 3)
