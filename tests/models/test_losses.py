"""The losses, against sums written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from diagnose.models.losses import loss_named

Z = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0]])
Y = torch.tensor([0, 2])


def test_cross_entropy_with_smoothing_and_weights() -> None:
    logs = Z - Z.exp().sum(1, keepdim=True).log()
    assert float(loss_named("auto", "classes")(Z, Y)) == pytest.approx(-float(logs[0, 0] + logs[1, 2]) / 2)
    smooth = loss_named("cross_entropy", "classes", label_smoothing=0.3)(Z, Y)  # 0.7 on the class, 0.1 on each of three
    target = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    assert float(smooth) == pytest.approx(-float((target * logs).sum()) / 2)
    weighted = loss_named("cross_entropy", "classes", [6, 3, 1], class_weights="balanced")(Z, Y)
    w = [10 / 18, 10 / 3]
    assert float(weighted) == pytest.approx(-float(w[0] * logs[0, 0] + w[1] * logs[1, 2]) / sum(w))


def test_binary_cross_entropy_weighs_the_rare_class() -> None:
    z, y = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 0.0])
    p = 1 / (1 + (-z).exp())
    given = loss_named("bce_with_logits", "classes", [30, 10], class_weights="balanced")(z, y)
    assert float(given) == pytest.approx(-float(3 * p[0].log() + (1 - p[1]).log()) / 2)


@pytest.mark.parametrize(("name", "options", "value"), [("mse", {}, 4.625), ("l1", {}, 1.75), ("huber", {"delta": 1.0}, 1.3125)])
def test_losses_of_values(name: str, options: dict[str, Any], value: float) -> None:  # errors 0.5 and 3
    assert float(loss_named(name, "values", **options)(torch.tensor([0.5, 3.0]), torch.zeros(2))) == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "task", "counts", "options", "text"),
    [
        ("hinge", "classes", (), {}, "loss.name must be one of auto, cross_entropy, .*, got 'hinge'"),
        (
            "mse",
            "classes",
            (),
            {},
            "loss=mse is for values or reconstruction, here are classes; choose loss=cross_entropy or bce",
        ),
        ("cross_entropy", "values", (), {}, "loss=cross_entropy is for classes or tokens, here are values; choose loss=mse or l1 or huber"),
        ("bce_with_logits", "classes", (5, 5, 5), {}, "needs two classes, the data have 3; choose loss=cross_entropy"),
        ("cross_entropy", "classes", (), {"label_smoothing": 1.0}, "loss.label_smoothing must be at least 0 and below 1, got 1.0"),
        ("cross_entropy", "classes", (5, 5), {"class_weights": [1, 0]}, r"must be null, balanced, or 2 numbers above 0, got \[1, 0\]"),
        ("cross_entropy", "tokens", (), {"class_weights": "balanced"}, "loss.class_weights needs classes with counts, here are none"),
        ("huber", "values", (), {"delta": 0}, "loss.delta must be above 0, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, task: str, counts: tuple[int, ...], options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        loss_named(name, task, counts, **options)
