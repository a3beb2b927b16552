from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.copying import Unusable
from tests.experiments.looking import look
from tests.experiments.odd import Classifier, blobs


def test_a_sound_step() -> None:
    record, anatomy = look(Classifier())
    step = record.facts["probe.step"]
    assert (step["kind"], step["classes"], step["reduction"], step["raised"]) == ("cross_entropy", 3, "mean", "")
    assert (step["input_shape"], step["target_shape"], step["target_dtype"]) == ([16, 3], [16], "int64")
    assert (step["head"], step["broadcast"], step["dropout_on_output"], step["calls"]) == ([], None, 0.0, 1)
    assert len(step["loss"]) == 3
    assert (record.facts["probe.linearity"]["layers"], len(record.facts["probe.linearity"]["longest"])) == (2, 1)
    parameters = record.facts["probe.parameters"]
    assert [e["name"] for e in parameters["registered"]] == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    assert all(e["used"] and e["reached"] and e["optimized"] for e in parameters["registered"])
    assert (parameters["unregistered"], parameters["optimizers"], parameters["losses"], parameters["matrices"]) == ([], 1, 3, 2)
    assert anatomy.ran[-1] in ("net", "")
    assert anatomy.call is not None
    assert anatomy.call.input.grad_fn is None


def test_what_stands_before_the_loss() -> None:
    record, _ = look(Classifier(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(dim=1)))
    assert record.facts["probe.step"]["head"] == [{"name": "Softmax", "axis": 1, "shape": [16, 3], "scaled": False}]
    assert record.facts["probe.step"]["input"]["probabilities"] is True


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_prediction_that_is_given_as_the_target(exchanged: bool) -> None:
    class Coder(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            image, made = batch[0].sigmoid(), self(batch[0]).sigmoid()
            return F.binary_cross_entropy(*((image, made) if exchanged else (made, image)))

    record, _ = look(Coder(nn.Linear(8, 8)))
    assert record.facts["probe.step"]["exchanged"] is exchanged


class Recurrent(nn.Module):
    """A recurrent layer over eight steps of one number, and what is made of its output."""

    def __init__(self, layer: nn.Module, take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.layer, self.take = layer, take

    def forward(self, x: Tensor) -> Tensor:
        return self.take(self.layer(x.unsqueeze(-1)))


@pytest.mark.parametrize(
    ("layer", "take", "name"),
    [
        (nn.LSTM(1, 3, batch_first=True), lambda made: made[0][:, -1], "net.0.layer (LSTM)"),
        (nn.GRU(1, 3, batch_first=True), lambda made: made[0][:, -1], "net.0.layer (GRU)"),
        (nn.GRU(1, 3, batch_first=True), lambda made: made[1].squeeze(0), "net.0.layer (GRU)"),
        (nn.RNN(1, 3, batch_first=True), lambda made: made[0][:, -1], "net.0.layer (RNN)"),
        (nn.RNN(1, 3, batch_first=True, nonlinearity="relu"), lambda made: made[0][:, -1], ""),
        (nn.LSTM(1, 5, batch_first=True, proj_size=3), lambda made: made[0][:, -1], ""),
        (nn.LSTM(1, 3, batch_first=True), lambda made: 4 * made[0][:, -1], ""),
    ],
)
def test_a_recurrent_layer_whose_output_is_the_prediction(layer: nn.Module, take: Callable[[Any], Tensor], name: str) -> None:
    assert look(Classifier(Recurrent(layer, take)))[0].facts["probe.step"]["recurrent"] == name


class Candidates(nn.Module):
    """Scores of five candidates, of 40 numbers each, for a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(40, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.score(x.view(-1, 5, 40)).squeeze(-1)
        return scores


@pytest.mark.parametrize(("net", "fixed"), [(Candidates(), False), (nn.Sequential(nn.Linear(200, 8), nn.ReLU(), nn.Linear(8, 5)), True)])
def test_whether_the_columns_of_scores_have_weights_of_their_own(net: nn.Module, fixed: bool) -> None:
    record, _ = look(Classifier(net), torch.randn(64, 200), torch.zeros(64, dtype=torch.long))
    assert (record.facts["probe.step"]["classes"], record.facts["probe.step"]["fixed"]) == (5, fixed)


class Tagger(nn.Module):
    """Three scores for each of four places of two numbers, brought into shape (N, 3, 4) in some way."""

    def __init__(self, shape: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.out, self.shape = nn.Linear(2, 3), shape

    def forward(self, x: Tensor) -> Tensor:
        return self.shape(self.out(x.view(-1, 4, 2)))


@pytest.mark.parametrize(
    ("shape", "units"),
    [
        (lambda s: s.view(-1, 3, 4), 3),
        (lambda s: s.flatten(0, 1).relu().reshape(-1, 3, 4), 3),
        (lambda s: s.transpose(1, 2), None),
        (lambda s: s.movedim(-1, 1).reshape(-1, 3, 4), None),
        (lambda s: s.transpose(1, 2).contiguous().view(-1, 3, 4), None),
        (lambda s: s[:, :1].expand(-1, 4, -1).reshape(-1, 3, 4), None),
    ],
)
def test_the_units_of_a_layer_whose_results_the_loss_gets_in_their_order(shape: Callable[[Tensor], Tensor], units: int | None) -> None:
    record, _ = look(Classifier(Tagger(shape)), torch.randn(32, 8), torch.randint(3, (32, 4)))
    step = record.facts["probe.step"]
    assert (step["input_shape"], step["units"]) == ([16, 3, 4], units)


class StraightThrough(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + (x.round() - x).detach()


class Shifted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x + torch.ones(x.shape[1])


@pytest.mark.parametrize(("between", "longest"), [(StraightThrough(), 1), (Shifted(), 2)])
def test_a_code_whose_gradient_goes_straight_through_is_not_linear(between: nn.Module, longest: int) -> None:
    record, _ = look(Classifier(nn.Linear(8, 16), between, nn.Linear(16, 3)))
    assert len(record.facts["probe.linearity"]["longest"]) == longest


def test_adding_the_input_itself_stays_linear() -> None:
    class Skip(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            first, last = self.net
            y: Tensor = last(x + first(x))
            return y

    record, _ = look(Skip(nn.Linear(8, 8), nn.Linear(8, 3)))
    assert record.facts["probe.linearity"]["longest"] == ["net.0", "net.1"]


def test_what_a_step_adds_to_its_loss() -> None:
    class Penalised(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss: Tensor = super().training_step(batch, batch_idx)
            return loss + 0.5 * self.net.get_parameter("0.weight").square().sum()

    module = Penalised()
    record, _ = look(module)
    seen = record.facts["probe.penalty"]
    expected = float(module.net.get_parameter("0.weight").detach().norm())  # the gradient of half the square is the weight itself
    assert seen["added_gradient"] == pytest.approx(expected, rel=1e-4)
    assert seen["added"] == pytest.approx([expected**2 / 2] * 3, rel=1e-4)
    x, y = blobs()
    assert 0 < seen["data_gradient"] < 10
    assert "probe.penalty" not in look(Classifier(), x, y)[0]


def test_an_activation_in_place_stands_between_a_bias_and_its_norm() -> None:
    record, _ = look(Classifier(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.BatchNorm1d(16), nn.Linear(16, 3)))
    assert [norm["bias_before"] for norm in record.facts["probe.norms"]] == [""]


def test_dropout_and_norms() -> None:
    net = (nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3), nn.Dropout(0.2))
    record, _ = look(Classifier(*net))
    assert record.facts["probe.step"]["dropout_on_output"] == 0.2
    assert record.facts["probe.dropout"] == [{"name": "net.3", "p": 0.3, "units": 16}, {"name": "net.5", "p": 0.2, "units": 3}]
    assert record.facts["probe.norms"] == [{"name": "net.1", "values": 16, "bias_before": "net.0", "batch_norm": True, "momentum": 0.1}]


def test_dropout_that_is_called_as_a_function_is_told_from_modules() -> None:
    class Masked(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(F.dropout(x, 0.8))
            return F.dropout(F.dropout(y, 0.9, training=self.training), 0.0)

    record, _ = look(Masked(nn.Linear(8, 16), nn.Dropout(0.3), nn.Linear(16, 3)))
    assert record.facts["probe.dropout"] == [{"name": "net.1", "p": 0.3, "units": 16}, {"name": "", "p": 0.9, "units": 3}]


def test_averages_that_were_trained_before_have_no_start_to_leave() -> None:
    norm = nn.BatchNorm1d(16, momentum=0.0)
    assert look(Classifier(nn.Linear(8, 16), norm, nn.Linear(16, 3)))[0].facts["probe.norms"][0]["momentum"] == 0
    assert norm.running_var is not None
    norm.running_var.fill_(2.0)
    assert look(Classifier(nn.Linear(8, 16), norm, nn.Linear(16, 3)))[0].facts["probe.norms"][0]["momentum"] is None


def test_values_of_a_convolutional_norm() -> None:
    class Images(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(x.reshape(-1, 2, 2, 2))
            return y

    net = (nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    first, second = look(Images(*net))[0].facts["probe.norms"]
    assert (first["values"], first["bias_before"], first["batch_norm"]) == (64, "", True)
    assert second["batch_norm"] is False


def test_steps_without_a_loss() -> None:
    class Forgets(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)

    assert look(Forgets())[0].facts["probe.parameters"]["losses"] == 0

    class Sometimes(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) if batch_idx else None

    assert look(Sometimes())[0].facts["probe.parameters"]["losses"] == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(16), r"a tensor of shape \(16,\)"),
        (0.5, "0.5"),
        ({"preds": 1, "total": 2}, r"a dict with the keys \['preds', 'total'\]"),
    ],
)
def test_what_is_no_loss(value: Any, text: str) -> None:
    kind = type("Own", (Classifier,), {"training_step": lambda self, batch, batch_idx: value})
    with pytest.raises(Unusable, match=f"training_step returned {text}; Lightning needs a tensor with one element"):
        look(kind())


def test_an_error_after_the_loss_call_is_kept() -> None:
    class Broken(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            raise KeyError("then this")

    step = look(Broken())[0].facts["probe.step"]
    assert step["raised"].startswith("KeyError: 'then this' (test_anatomy.py:")
    assert step["kind"] == "cross_entropy"

    class Labels(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch[0]), batch[1] + 1)

    record, _ = look(Labels())
    assert "out of bounds" in record.facts["probe.step"]["raised"]
    assert "the module's own training_step raised IndexError" in record.missing["probe.parameters"]

    class Later(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx:
                raise RuntimeError("in the second batch")
            return super().training_step(batch, batch_idx)

    record, _ = look(Later())
    assert "in the second batch" in record.facts["probe.step"]["raised"]
    assert len(record.facts["probe.step"]["loss"]) == 1


def test_an_error_before_any_loss_call_is_raised() -> None:
    class Broken(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise KeyError("at once")

    with pytest.raises(KeyError, match="at once"):
        look(Broken())


def test_no_known_loss() -> None:
    class Custom(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch[0]).square().mean()

    record, anatomy = look(Custom())
    assert (record.facts["probe.step"]["kind"], anatomy.call) == ("", None)
    assert "no loss was found in the step" in record.missing["probe.linearity"]


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


@pytest.mark.parametrize("reverse", [True, False])
def test_an_adversary_inside_of_the_loss(reverse: bool) -> None:
    class Game(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.net[0](x)
            y: Tensor = self.net[1:](Reversed.apply(hidden) if reverse else hidden)  # type: ignore[no-untyped-call]
            return y

    record, _ = look(Game())
    assert record.facts["probe.step"]["adversary"] == ("Reversed" if reverse else "")
