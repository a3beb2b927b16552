"""Runs of linear layers with nothing between them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from diagnose.measure.graph import Linearity, linearity

X = torch.randn(6, 8)
IMAGES = torch.randn(4, 4, 6, 6)


def lines(module: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor] | None = None) -> Linearity:
    output: Tensor = (forward or module)(x)
    return linearity(output, {id(p): n for n, p in module.named_parameters()})


def mlp(*sizes: int, between: Callable[[], nn.Module] | None = None) -> nn.Sequential:
    parts: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        parts += [between()] if between and i else []
        parts.append(nn.Linear(a, b))
    return nn.Sequential(*parts)


def test_linear_layers_in_a_row() -> None:
    assert lines(mlp(8, 16, 16, 3), X) == Linearity(3, 0, ("0", "1", "2"))


@pytest.mark.parametrize("between", [nn.ReLU, nn.Tanh, nn.GELU, lambda: nn.LayerNorm(16), lambda: nn.ReLU(inplace=True), nn.PReLU, nn.SiLU])
def test_a_nonlinearity_ends_the_run(between: Callable[[], nn.Module]) -> None:
    found = lines(mlp(8, 16, 16, 3, between=between), X)
    assert (found.layers, len(found.longest)) == (3, 1)
    assert found.nonlinear >= 2


@pytest.mark.parametrize("between", [nn.Identity, lambda: nn.BatchNorm1d(16), lambda: nn.Dropout(0.1), lambda: nn.Unflatten(1, (16,))])
def test_what_is_linear_does_not_end_it(between: Callable[[], nn.Module]) -> None:
    assert len(lines(mlp(8, 16, 16, 3, between=between), X).longest) == 3


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_layer_before_a_pair_is_a_layer(kind: Callable[..., nn.Module]) -> None:
    network = nn.ModuleDict({"rnn": kind(8, 16, batch_first=True), "a": nn.Linear(16, 16), "b": nn.Linear(16, 3)})
    found = lines(network, torch.randn(4, 1, 8), lambda x: network["b"](network["a"](network["rnn"](x)[0][:, -1])))
    assert found.longest == ("a", "b")
    assert found.layers >= 3
    assert found.nonlinear >= 1


def test_only_the_pair_without_one_is_named() -> None:
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    assert lines(net, X) == Linearity(4, 2, ("2", "3"))


def test_convolutions_in_a_row() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.AvgPool2d(2), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(32, 3))
    assert lines(net, IMAGES).longest == ("0", "2", "4")


def test_max_pooling_is_nonlinear() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 3))
    assert len(lines(net, IMAGES).longest) == 1


class Residual(nn.Module):
    """A ResNet block whose last batch norm starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.c2, self.b2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        nn.init.zeros_(self.b2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b2(self.c2(F.relu(self.b1(self.c1(x))))))


class Adapter(nn.Module):
    """A frozen layer with a low-rank change beside it, as LoRA has it."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.base = nn.Linear(fan_in, fan_out).requires_grad_(False)
        self.down, self.up = nn.Linear(fan_in, 2, bias=False), nn.Linear(2, fan_out, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x) + 2 * self.up(self.down(x))
        return y


class Sampled(nn.Module):
    """The middle of a variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        m: Tensor = self.mean(x)
        spread: Tensor = self.spread(x)
        return m + torch.randn_like(m) * (spread / 2).exp()


class Gate(nn.Module):
    """A product of two linear maps, which is not linear."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.a(x) * self.b(x))
        return y


def inverted(width: int, wide: int, out: int) -> nn.Sequential:
    """MobileNetV2's block: expand, filter by channel, project linearly."""
    expand = [nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
    by_channel = [nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
    return nn.Sequential(*expand, *by_channel, nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "resnet": (lambda: nn.Sequential(Residual(4), Residual(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), IMAGES),
    "mobilenet": (lambda: nn.Sequential(inverted(4, 24, 4), inverted(4, 24, 8)), IMAGES),
    "depthwise separable": (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)), IMAGES),
    "pointwise then depthwise": (lambda: nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU()), IMAGES),
    "low-rank adapters": (lambda: nn.Sequential(Adapter(8, 32), nn.ReLU(), Adapter(32, 16)), X),
    "variational autoencoder": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), Sampled(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8)),
        X,
    ),
    "autoencoder with a linear code": (lambda: nn.Sequential(mlp(8, 16, 2, between=nn.ReLU), mlp(2, 16, 8, between=nn.ReLU)), X),
    "principal components": (lambda: mlp(8, 2, 8), X),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(3, 5, 8)),
    "lstm": (lambda: nn.Sequential(nn.Linear(8, 8), Recurrent()), torch.randn(3, 5, 8)),
    "product of two maps": (Gate, X),
    "gated linear unit": (lambda: nn.Sequential(nn.Linear(8, 16), nn.GLU(), nn.Linear(8, 3)), X),
    "maxout": (lambda: nn.Sequential(nn.Linear(8, 16), nn.Unflatten(1, (8, 2)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 3)), X),
    "one layer": (lambda: nn.Linear(8, 3), X),
}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.lstm(x)[0][:, -1])
        return y


@pytest.mark.parametrize("case", HEALTHY)
def test_sound_networks_have_no_run(case: str) -> None:
    make, x = HEALTHY[case]
    assert len(lines(make(), x).longest) <= 1


def test_a_skip_around_a_nonlinearity_is_no_run() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            y: Tensor = self.c(x + self.b(x.relu()))
            return y

    found = lines(Skip(), X)
    assert len(found.longest) < found.layers


class Block(nn.Module):
    """A branch beside a skip connection."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.branch(x)
        return y


@pytest.mark.parametrize(
    ("branch", "run"),
    [
        ((nn.Linear(8, 8), nn.ReLU()), 1),  # the stem is needed beside each branch
        ((nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)), 1),  # nor does the last branch merge with the head
        ((nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)), 1),
        ((nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 8)), 2),  # no activation inside the branch
        ((nn.Linear(8, 8),), 4),  # nothing bends anywhere
    ],
)
def test_a_stem_before_residual_blocks(branch: tuple[nn.Module, ...], run: int) -> None:
    net = nn.Sequential(nn.Linear(8, 8), *(Block(*deepcopy(branch)) for _ in range(2)), nn.Linear(8, 3))
    assert len(lines(net, X).longest) == run


def test_a_branch_beside_the_output() -> None:
    stem, branch = nn.Linear(8, 3), nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(x: Tensor) -> Tensor:
        h = stem(x)
        y: Tensor = h + branch(h)
        return y

    assert len(lines(nn.ModuleList([stem, branch]), X, forward).longest) == 1


def test_a_gate_beside_what_it_gates() -> None:
    stem, gate, last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(x: Tensor) -> Tensor:
        h = stem(x)
        y: Tensor = last(h * gate(h).sigmoid())
        return y

    assert len(lines(nn.ModuleList([stem, gate, last]), X, forward).longest) == 1


def test_tied_weights_are_two_layers() -> None:
    net = mlp(8, 8, 8, between=nn.ReLU)
    net[2].weight = net[0].weight
    assert lines(net, X).layers == 2


def test_attention_with_hand_written_products() -> None:
    q, k, v, out = (nn.Linear(8, 8) for _ in range(4))
    net = nn.ModuleList([q, k, v, out])

    def forward(x: Tensor) -> Tensor:
        weights = (q(x) @ k(x).transpose(1, 2)).softmax(-1)
        y: Tensor = out(weights @ v(x))
        return y

    assert len(lines(net, torch.randn(2, 5, 8), forward).longest) <= 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_blocks_do_not_break_it(reentrant: bool) -> None:
    block, last = mlp(8, 16, 8, between=nn.ReLU), nn.Linear(8, 3)
    x = X.clone().requires_grad_()
    output = last(checkpoint(block, x, use_reentrant=reentrant))
    assert linearity(output, {id(p): n for n, p in last.named_parameters()}).layers >= 1


def test_an_unregistered_layer_is_named_as_such() -> None:
    assert linearity(mlp(8, 8, 3)(X), {}).longest == ("an unregistered weight", "an unregistered weight")
