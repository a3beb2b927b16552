from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.initial import initial_loss, signal_scale
from diagnose.record import Record
from tests.experiments.odd import Classifier, Regressor, blobs, loaders, sandboxed


def first(module: Any, *tensors: Tensor) -> Record:
    return sandboxed(module, loaders(*tensors)[0], lambda sandbox, record: initial_loss(sandbox, record))


def layers(module: Any, *tensors: Tensor) -> dict[str, dict[str, Any]]:
    record = sandboxed(module, loaders(*tensors)[0], lambda sandbox, record: signal_scale(sandbox, record))
    return {e["name"]: e for e in record.facts["probe.initialization"]}


class Zero(Classifier):
    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.net[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.net[2].bias)  # type: ignore[arg-type]


def test_a_network_that_says_nothing_starts_at_ln_c() -> None:
    fact = first(Zero()).facts["probe.initial_loss"]
    assert fact["loss"] == pytest.approx(math.log(3), rel=1e-6)
    assert fact["uniform"] == fact["chance"] == pytest.approx(math.log(3), rel=1e-6)
    assert (fact["ratio"], fact["kind"], fact["classes"], fact["batches"]) == (pytest.approx(1.0), "cross_entropy", 3, 6)


def test_a_last_layer_that_is_not_trained() -> None:
    module = Classifier()
    assert first(module).facts["probe.initial_loss"]["frozen"] is False
    module.net[2].requires_grad_(False)
    assert first(module).facts["probe.initial_loss"]["frozen"] is True
    module.net[0].requires_grad_(False)
    module.net[2].bias.requires_grad_(True)
    assert first(module).facts["probe.initial_loss"]["frozen"] is False, "of its bias alone the last layer still learns how sure to be"


def test_outputs_that_are_confidently_wrong() -> None:
    module = Classifier()
    nn.init.normal_(module.net[2].weight, std=20)  # type: ignore[arg-type]
    assert first(module).facts["probe.initial_loss"]["ratio"] > 3


def test_the_loss_of_the_step_may_be_a_sum() -> None:
    class Several(Zero):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) + 5.0

    fact = first(Several()).facts["probe.initial_loss"]
    assert (fact["loss"], fact["total"]) == (pytest.approx(math.log(3)), pytest.approx(math.log(3) + 5))


def test_regression() -> None:
    x, _ = blobs()
    fact = first(Regressor(), x, 10 * x[:, :1] + 3).facts["probe.initial_loss"]
    assert fact["uniform"] is None
    assert 0 < fact["prediction_std"] < 1
    assert fact["shift"] == pytest.approx(abs(fact["prediction_mean"] - fact["target_mean"]) / math.sqrt(fact["chance"]), rel=0.4)
    assert fact["target_rms"] == pytest.approx(math.sqrt(109), rel=0.4)
    assert fact["chance"] == pytest.approx(100, rel=0.4)


def test_positives_that_count_more_are_no_high_loss() -> None:
    class Rare(Zero):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            rare = (y == 0).float()
            return F.binary_cross_entropy_with_logits(self(x)[:, 0], rare, pos_weight=torch.tensor(100.0))

    assert first(Rare()).facts["probe.initial_loss"]["ratio"] == pytest.approx(1.0, abs=1e-4)


def test_a_margin_on_the_score_of_the_true_class_is_not_held_against_chance() -> None:
    class Margin(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            return F.cross_entropy(self(x) - 6.0 * F.one_hot(y, 3), y)

    assert "made with the labels" in first(Margin()).missing["probe.initial_loss"]


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (lambda scores, y: F.cross_entropy(scores, y, reduction="sum"), "the loss is a sum, so chance has no fixed value"),
        (lambda scores, y: F.cross_entropy(scores, y, reduction="none").mean(), "no loss with one value was found"),
        (lambda scores, y: scores.square().mean(), "no loss with one value was found"),
        (
            lambda scores, y: F.multilabel_margin_loss(scores, y[:, None].repeat(1, 3)),
            "chance gives is not known for multilabel_margin_loss",
        ),
        (lambda scores, y: F.poisson_nll_loss(scores[:, 0], y), "poisson_nll_loss may be below zero, so its ratio to chance says nothing"),
    ],
)
def test_what_chance_does_not_know(loss: Any, reason: str) -> None:
    class Own(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return loss(self(batch[0]), batch[1])

    assert reason in first(Own()).missing["probe.initial_loss"]


def test_the_gain_is_that_of_the_initialisation() -> None:
    def wide(init: Any) -> dict[str, Any]:
        module = Classifier(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
        init(module.net[2].weight)
        return layers(module)["net.2"]

    assert wide(lambda w: None)["gain"] == pytest.approx(1 / math.sqrt(3), rel=0.1)
    assert wide(lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))["gain"] == pytest.approx(math.sqrt(2), rel=0.1)
    assert wide(lambda w: nn.init.normal_(w))["gain"] == pytest.approx(8, rel=0.1)
    assert wide(nn.init.zeros_)["zero"] is True


def test_signals_and_places() -> None:
    module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    found = layers(module)
    assert list(found) == ["net.0", "net.3"]
    assert found["net.0"]["input_std"] == pytest.approx(1.0, rel=0.3)
    assert (found["net.0"]["normalised"], found["net.0"]["last"]) == (True, False)
    assert (found["net.3"]["normalised"], found["net.3"]["last"]) == (False, True)
    assert (found["net.0"]["fan_in"], found["net.0"]["fan_out"]) == (8, 16)


def test_a_cell_with_a_matrix_of_its_own_is_followed_through_its_calls() -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(2.0 * torch.eye(8)), nn.Parameter(torch.zeros(8))

        def forward(self, h: Tensor) -> tuple[Tensor, None]:
            return h @ self.weight + self.bias, None

    class Loop(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Cell()

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(5):
                x, _ = self.cell(x)
            y: Tensor = self.net(x)
            return y

    found = layers(Loop())
    cell = found["cell"]
    assert (cell["kind"], cell["calls"], found["net.0"]["calls"]) == ("own", 5, 1)
    assert cell["output_std"] == pytest.approx(2 * cell["input_std"], rel=1e-5)
    assert cell["last_std"] == pytest.approx(32 * cell["input_std"], rel=1e-5)


def test_square_matrices_that_a_larger_module_holds() -> None:
    class Recurrent(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.u, self.w = nn.Parameter(torch.ones(8, 8)), nn.Parameter(torch.ones(8, 3))
            self.scales = nn.Parameter(torch.ones(1, 1, 8))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(x) + x @ self.u @ self.w + self.scales.sum()
            return y

    record = sandboxed(Recurrent(), loaders()[0], lambda sandbox, record: signal_scale(sandbox, record))
    (found,) = record.facts["probe.matrices"]
    assert (found["name"], found["size"], found["gain"]) == ("u", 8, pytest.approx(math.sqrt(8)))


def test_nothing_to_look_at() -> None:
    frozen = Classifier()
    frozen.net.requires_grad_(False)
    frozen.scale = nn.Parameter(torch.ones(()))
    frozen.forward = lambda x: frozen.net(x)  # type: ignore[method-assign]
    record = sandboxed(frozen, loaders()[0], lambda sandbox, record: signal_scale(sandbox, record))
    assert record.missing["probe.initialization"] == "no linear or convolution layer with trainable weights ran"
