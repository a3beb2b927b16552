"""What is read from the arguments of a loss call."""

from __future__ import annotations

import torch

from diagnose.experiments.loss_arguments import asked_of, class_weights, columns_set, input_statistics, label_statistics, target_statistics
from diagnose.measure.losses import LossCall


def test_what_the_loss_was_given() -> None:
    probabilities = torch.randn(10, 3).softmax(1)
    raw = input_statistics(LossCall("cross_entropy", torch.tensor([[0.0, 4.0], [2.0, -2.0]]), None))
    assert (raw["min"], raw["max"], raw["probabilities"], raw["log_probabilities"]) == (-2.0, 4.0, False, False)
    assert input_statistics(LossCall("nll_loss", probabilities, None))["probabilities"]
    assert input_statistics(LossCall("nll_loss", probabilities.log(), None))["log_probabilities"]
    assert not input_statistics(LossCall("nll_loss", torch.zeros(10, 1).exp(), None))["probabilities"]
    time_last = torch.randn(4, 7, 3).log_softmax(2).transpose(1, 2)
    assert input_statistics(LossCall("nll_loss", time_last, None))["log_probabilities"]
    assert input_statistics(LossCall("kl_div", torch.randn(4, 7, 3).log_softmax(2), None))["log_probabilities"]
    broken = input_statistics(LossCall("mse_loss", torch.full((3,), float("nan")), None))
    assert broken["min"] != broken["min"]


def test_labels() -> None:
    call = LossCall("cross_entropy", torch.zeros(5, 9), torch.tensor([1, 4, 4, -100, 7]))
    assert label_statistics(call) == {"count": 5, "distinct": 3, "min": 1, "max": 7}
    call.options["ignore_index"] = 7
    assert label_statistics(call)["max"] == 4
    assert label_statistics(LossCall("mse_loss", torch.zeros(2), torch.zeros(2)))["count"] == 0
    assert label_statistics(LossCall("cross_entropy", torch.zeros(2, 3), torch.tensor([-100, -100])))["distinct"] == 0


def test_columns_that_are_ever_set() -> None:
    first, second, scores = torch.tensor([1, 4, 4]), torch.tensor([2, 1]), torch.zeros(3, 9)
    batches = [(torch.ones(3, 2), first), (torch.ones(2, 2), second)]
    known = {"units": 9, "count": 5, "distinct": 3, "min": 1, "max": 4}
    one_hot = torch.nn.functional.one_hot(first, 9).float()
    for target in (one_hot, one_hot * 0.9 + 0.1 / 9):
        for kind in ("binary_cross_entropy_with_logits", "mse_loss", "cross_entropy"):
            assert columns_set(LossCall(kind, scores, target), batches) == known
    several = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    seen = columns_set(LossCall("mse_loss", torch.zeros(2, 4), several), [(several,), (several.flip(1),)])
    assert seen == {"units": 4, "count": 6, "distinct": 4, "min": 0, "max": 3}
    others = (one_hot.flip(0), one_hot[:, 0], one_hot * torch.rand(3, 9), torch.zeros(3, 9), several, None)
    assert not any(columns_set(LossCall("mse_loss", scores, target), batches) for target in others)


def test_targets_against_the_range_of_activations() -> None:
    call = LossCall("mse_loss", torch.zeros(4), torch.tensor([-2.0, 0.0, 0.5, 3.0]))
    seen = target_statistics(call)
    assert (seen["min"], seen["max"]) == (-2.0, 3.0)
    assert (seen["below"]["Sigmoid"], seen["above"]["Sigmoid"]) == (0.25, 0.25)
    assert (seen["below"]["Relu"], seen["above"]["Relu"]) == (0.25, 0.0)
    assert (seen["below"]["Tanh"], seen["above"]["Tanh"]) == (0.25, 0.25)
    assert (seen["below"]["LogSigmoid"], seen["above"]["LogSigmoid"]) == (0.0, 0.5)
    assert target_statistics(LossCall("mse_loss", torch.zeros(0), torch.zeros(0))) == {}


def test_which_targets_of_a_batch_a_loss_takes() -> None:
    y = torch.tensor([[1, 2, 0], [2, 0, 0]])
    batch, scores = {"x": torch.ones(2, 3), "y": y}, torch.zeros(6, 3)
    options = {"ignore_index": -100, "reduction": "mean", "weight": torch.tensor([0.0, 1.0, 1.0])}
    taken = {"path": 'batch["y"]', "kind": "cross_entropy", "classes": 3, "weightless": [0], "ignore_index": -100}
    assert asked_of(batch, LossCall("cross_entropy", scores, y.reshape(-1), None, options)) == taken
    masked, changed = y[y > 0], y.masked_fill(y == 0, -100).reshape(-1)
    assert asked_of(batch, LossCall("cross_entropy", scores[:3], masked, None, options)) is None
    assert asked_of(batch, LossCall("cross_entropy", scores, changed, None, options)) is None
    assert asked_of(batch, LossCall("cross_entropy", scores, y.reshape(-1), None, {"reduction": "none"})) is None  # a mask may follow
    assert asked_of(batch, LossCall("mse_loss", scores, y.reshape(-1), None, {})) is None
    assert asked_of(batch, None) is None


def test_class_weights_and_how_often_the_classes_occur() -> None:
    y = torch.tensor([0, 0, 2, -100, 0])
    weighted = LossCall("cross_entropy", torch.zeros(5, 3), y, None, {"weight": torch.tensor([1.0, 2.0, 0.5]), "ignore_index": -100})
    assert class_weights(weighted) == {"weight": [1.0, 2.0, 0.5], "count": [3, 0, 1]}
    ones = torch.tensor([0.0, 1.0, 0.0, 0.0])
    binary = LossCall("binary_cross_entropy_with_logits", torch.zeros(4), ones, None, {"pos_weight": torch.tensor(3.0)})
    assert class_weights(binary) == {"weight": [1.0, 3.0], "count": [3.0, 1.0]}
    per_label = LossCall("binary_cross_entropy_with_logits", torch.zeros(4, 2), torch.zeros(4, 2), None, {"pos_weight": torch.ones(2)})
    assert class_weights(per_label) is None
    assert class_weights(LossCall("cross_entropy", torch.zeros(5, 3), y, None, {"weight": None})) is None
    assert class_weights(LossCall("mse_loss", torch.zeros(5), torch.zeros(5))) is None
    words = LossCall("cross_entropy", torch.zeros(5, 2000), y, None, {"weight": torch.ones(2000)})
    assert class_weights(words) is None
