"""Activation statistics of networks whose numbers are known by hand."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from diagnose.measure.activation_statistics import Statistics, statistics
from diagnose.measure.activations import FunctionSites, Sites, activation_modules, attach, compiled, hooks, weight_names
from diagnose.measure.calls import WatchCalls


def watch(net: nn.Module, x: Tensor, backward: bool = False) -> dict[str, Statistics]:
    sites = Sites()
    handles = attach(hooks(activation_modules(net), sites))
    with WatchCalls(FunctionSites(sites, weight_names(net)).seen()):
        out = net(x)
        if backward:
            out.sum().backward()
    for handle in handles:
        handle.remove()
    return sites.found


def test_dead_units_give_zero_for_every_sample() -> None:
    x = torch.rand(10, 4) + 0.1
    x[:, 0] = 0
    x[0, 1] = 0
    found = statistics(x, "relu")
    assert found.dead == 0.25
    assert found.saturated is None
    assert math.isclose(found.mean, x.mean(), rel_tol=1e-6)
    assert math.isclose(found.std, x.std(correction=0), rel_tol=1e-5)


def test_a_channel_is_a_unit_of_a_convolution() -> None:
    x = torch.rand(2, 5, 3, 3)
    x[:, 2] = 0
    dead = statistics(x, "relu", channels_first=True).dead
    assert dead is not None
    assert math.isclose(dead, 0.2, rel_tol=1e-6)


@pytest.mark.parametrize(("kind", "low", "high"), [("tanh", -1.0, 1.0), ("sigmoid", 0.0, 1.0)])
def test_saturated_units_sit_at_their_bounds(kind: str, low: float, high: float) -> None:
    x = torch.full((20, 4), (low + high) / 2)
    x[:, 0], x[:, 1] = low, high
    x[:10, 2] = high
    assert statistics(x, kind).saturated == 0.5
    assert statistics(x, kind).dead is None


def test_seven_samples_are_too_few_to_call_a_unit_dead() -> None:
    assert statistics(torch.zeros(7, 3), "relu").dead is None


def test_one_number_per_sample_is_no_unit() -> None:
    assert statistics(torch.zeros(32), "relu").dead is None
    assert statistics(torch.ones(32), "sigmoid").saturated == 1  # of a probability its bounds tell something


def test_a_logarithm_of_a_probability_that_is_sure_is_no_dead_unit() -> None:
    assert statistics(torch.zeros(100, 1), "logsigmoid").dead is None
    assert statistics(torch.zeros(100, 1), "relu").dead == 1


def test_half_precision_is_measured() -> None:
    found = statistics(torch.ones(10, 3, dtype=torch.bfloat16), "relu")
    assert found.mean == 1
    assert found.std.item() == pytest.approx(0, abs=1e-6)
    assert found.dead == 0


def test_of_large_activations_some_rows_tell_the_scale_and_all_which_units_are_dead() -> None:
    torch.manual_seed(0)
    x = torch.rand(1001, 300) + 3
    x[:, :60] = 0
    x[1, 0] = 1  # a row that is left out of the scale
    found = statistics(x, "relu")
    assert found.dead == pytest.approx(59 / 300)
    assert found.mean.item() == pytest.approx(x.mean().item(), rel=0.01)
    assert found.std.item() == pytest.approx(x.std().item(), rel=0.01)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten())
        self.fc = nn.Linear(27, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(torch.tanh(self.fc(self.conv(x))))
        return F.gelu(scores)


def test_modules_and_functions_are_seen_under_their_names() -> None:
    assert list(watch(Mixed(), torch.randn(8, 1, 5, 5))) == ["conv.1 (ReLU)", "fc → tanh", "out → gelu"]


def test_an_operation_in_place_is_measured_on_the_spot() -> None:
    net, x = Mixed(), torch.randn(8, 1, 5, 5)
    assert math.isclose(watch(net, x)["conv.1 (ReLU)"].mean, F.relu(net.conv[0](x)).mean().detach(), rel_tol=1e-5)


def test_watching_leaves_no_hook() -> None:
    net = Mixed()
    watch(net, torch.randn(8, 1, 5, 5))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_hooks_can_be_copied_and_pickled_while_they_are_on() -> None:
    net = Mixed()
    attach(hooks(activation_modules(net), Sites()))
    copy.deepcopy(net)
    pickle.dumps(net)


def test_a_shared_activation_is_a_site_behind_each_layer_and_counts_once_there() -> None:
    act, layer = nn.ReLU(), nn.Linear(3, 3)
    net = nn.Sequential(nn.Linear(3, 3), act, act, layer, act, layer, act)
    assert list(watch(net, torch.randn(8, 3))) == ["1 (ReLU)", "3 → 1 (ReLU)"]


def test_what_a_checkpoint_computes_again_is_not_counted() -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.runs = 0

        def block(self, x: Tensor) -> Tensor:
            self.runs += 1
            return torch.relu(self.fc(x)) * self.runs

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = checkpoint(self.block, x, use_reentrant=False)
            return out

    net = Saving()
    assert list(watch(net, torch.randn(8, 3), backward=True)) == ["fc → relu"]
    assert net.runs == 2


def test_compiled_modules_are_named() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[0].compile(backend="eager")
    assert compiled(net) == ["0"]
