"""Gates and states of recurrent layers against torch's own cells, one step after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diagnose.measure.activations import FunctionSites, Sites, weight_names
from diagnose.measure.calls import WatchCalls
from diagnose.measure.recurrence import inside


def watched(module: nn.Module, *args: Any) -> dict[Any, Any]:
    """What `inside` says of each recurrent call of a module."""
    calls: dict[Any, Any] = {}

    def see(func: Any, args: Any, kwargs: Any, output: Any) -> None:
        with torch._C.DisableTorchFunction():
            calls[func] = inside(func, args, output)

    functions = (torch.lstm, torch.gru, torch.rnn_tanh, torch.lstm_cell, torch.gru_cell, torch.rnn_relu_cell)
    with WatchCalls(dict.fromkeys(functions, see)):
        module(*args)
    return calls


def lstm_gates(layer: nn.LSTM, x: Tensor, h: Tensor) -> Tensor:
    w = dict(layer.named_parameters())
    i, f, g, o = (x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + h @ w["weight_hh_l0"].T + w["bias_hh_l0"]).chunk(4, -1)
    return torch.cat([i.sigmoid(), f.sigmoid(), (1 + g.tanh()) / 2, o.sigmoid()], -1)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_gates_of_an_lstm_are_those_of_its_equations(batch_first: bool, both_ways: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.LSTM(3, 5, batch_first=batch_first, bidirectional=both_ways), torch.randn(6, 9, 3)
    values, kind = watched(layer, x if batch_first else x.transpose(0, 1))[torch.lstm]
    h = c = torch.zeros(6, 5)
    cell, wanted = nn.LSTMCell(3, 5), []
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.named_parameters() if name.endswith("l0")})
    for step in range(9):
        wanted.append(lstm_gates(layer, x[:, step], h))
        h, c = cell(x[:, step], (h, c))
    at = torch.linspace(1, 8, 4).long()
    assert kind == "sigmoid"
    torch.testing.assert_close(values, torch.stack(wanted, 1)[:, at].flatten(0, 1), atol=1e-6, rtol=1e-5)


def test_the_gates_of_a_gru_make_its_next_state() -> None:
    torch.manual_seed(1)
    cell, x, h = nn.GRUCell(3, 5), torch.randn(7, 3), torch.randn(7, 5)
    values, _ = watched(cell, x, h)[torch.gru_cell]
    _, update, new = values.chunk(3, 1)
    torch.testing.assert_close(update * h + (1 - update) * (2 * new - 1), cell(x, h), atol=1e-6, rtol=1e-5)
    layer = nn.GRU(3, 5, batch_first=True)
    (gates, _), states = watched(layer, x[:, None])[torch.gru], layer(x[:, None])[0][:, 0]
    _, update, new = gates.chunk(3, 1)
    torch.testing.assert_close((1 - update) * (2 * new - 1), states, atol=1e-6, rtol=1e-5)


def test_stacked_layers_are_seen_at_the_first_step_and_plain_ones_by_their_states() -> None:
    x = torch.randn(4, 6, 3)
    assert watched(nn.LSTM(3, 5, num_layers=2, bias=False, batch_first=True), x)[torch.lstm][0].shape == (4, 20)
    plain = nn.RNN(3, 5, batch_first=True)
    states, kind = watched(plain, x)[torch.rnn_tanh]
    assert kind == "tanh"
    torch.testing.assert_close(states, plain(x)[0])
    assert watched(nn.RNNCell(3, 5, nonlinearity="relu"), x[:, 0])[torch.rnn_relu_cell][1] == "relu"


def test_packed_sequences_are_passed_over() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(3, 4, 2), torch.tensor([4, 3, 2]), batch_first=True)
    assert watched(nn.LSTM(2, 3, batch_first=True), packed) == {torch.lstm: None}


def test_sites_have_the_gates_under_the_name_of_their_layer() -> None:
    layer = nn.LSTM(3, 5, batch_first=True)
    module = nn.ModuleDict({"rnn": layer})
    nn.init.constant_(dict(layer.named_parameters())["bias_ih_l0"], 20.0)
    sites = Sites()
    with WatchCalls(FunctionSites(sites, weight_names(module)).seen()):
        layer(torch.randn(16, 6, 3))
    (label,) = sites.found
    assert label == "rnn → gates"
    assert float(sites.found[label].saturated or 0) == 1.0
