from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diagnose.experiments.initial import signal_scale
from tests.experiments.odd import Classifier, Regressor, loaders, sandboxed
from tests.experiments.test_initial import Zero, layers


def test_units_that_stay_equal() -> None:
    module = Classifier(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    for p in module.parameters():
        nn.init.constant_(p, 0.01)
    found = layers(module)
    assert found["net.0"]["symmetric"]  # dropout tells units apart for one step, but none for good
    assert found["net.3"]["symmetric"]
    assert module.net[2].training


def test_zeros_that_the_gradient_tells_apart_are_not_symmetric() -> None:
    class Branch(Classifier):
        """A residual branch that starts at zero."""

        def __init__(self) -> None:
            super().__init__(nn.Linear(8, 3))
            self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
            nn.init.zeros_(self.down.weight)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(x + self.down(self.up(x).relu()))
            return y

    found = layers(Branch())
    assert found["down"]["zero"]
    assert not found["down"]["symmetric"]
    assert not layers(Zero())["net.2"]["symmetric"]


class Behind(Classifier):
    """A residual branch that starts at zero, before a last layer that starts at zero; ``share`` of the branch is added."""

    def __init__(self, share: float | nn.Parameter = 1.0) -> None:
        super().__init__(nn.Linear(8, 3))
        self.up, self.down, self.share = nn.Linear(8, 16), nn.Linear(16, 8), share
        for layer in (self.down, self.net[0]):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x + self.share * self.down(self.up(x).relu()))
        return y


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_zeros_behind_a_last_layer_of_zeros_get_their_gradient_later(share: float) -> None:
    module = Behind(share)  # with a share of zero, the branch may be faded in later
    record = sandboxed(module, loaders()[0], lambda sandbox, record: signal_scale(sandbox, record))
    (down,) = [e for e in record.facts["probe.initialization"] if e["name"] == "down"]
    assert (down["zero"], down["symmetric"]) == (True, False)
    assert record.facts["probe.stuck"] == []
    assert not module.down.weight.any()


def test_a_branch_of_zeros_behind_a_gate_of_zero_never_starts() -> None:
    module = Behind(nn.Parameter(torch.zeros(())))
    record = sandboxed(module, loaders()[0], lambda sandbox, record: signal_scale(sandbox, record))
    assert record.facts["probe.stuck"] == ["down.weight"]
    assert [e["name"] for e in record.facts["probe.initialization"] if e["symmetric"]] == ["down"]


def test_zeros_through_and_through_stay_equal() -> None:
    module = Classifier(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    for p in module.parameters():
        nn.init.zeros_(p)
    found = layers(module)
    assert found["net.0"]["symmetric"]
    assert found["net.2"]["symmetric"]


class Factors(Regressor):
    """Two tables whose rows are multiplied, and an offset."""

    def __init__(self, *, std: float | None = 0.0, sparse: bool = False) -> None:
        super().__init__(nn.Linear(8, 1))
        self.user, self.item = nn.Embedding(5, 4, sparse=sparse), nn.Embedding(5, 4, sparse=sparse)
        if std is None:
            nn.init.constant_(self.user.weight, 0.1)
            nn.init.constant_(self.item.weight, 0.1)
        else:
            nn.init.normal_(self.user.weight, std=std)
            nn.init.zeros_(self.item.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (self.user(x[:, 0]) * self.item(x[:, 1])).sum(-1) + self.net(torch.ones(8))
        return y


class ComplexFactors(Regressor):
    """The same with complex numbers."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 1))
        self.user, self.item = (nn.Parameter(torch.zeros(5, 4, dtype=torch.complex64)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (self.user[x[:, 0]] * self.item[x[:, 1]]).sum(-1).real + self.net(torch.ones(8))
        return y


@pytest.mark.parametrize(
    ("module", "stuck"),
    [
        (Factors(), ["user.weight", "item.weight"]),
        (Factors(sparse=True), ["user.weight", "item.weight"]),
        (ComplexFactors(), ["user", "item"]),
        (Factors(std=0.1), []),
    ],
)
def test_two_factors_that_start_at_zero(module: Regressor, stuck: list[str]) -> None:
    pairs = torch.randint(5, (128, 2), generator=torch.Generator().manual_seed(0))
    rating = pairs.float().sum(1)
    record = sandboxed(module, loaders(pairs, rating)[0], lambda sandbox, record: signal_scale(sandbox, record))
    assert record.facts["probe.stuck"] == stuck


class Tables(Regressor):
    """Two matrices of the module's own, held as parameters, whose rows are multiplied."""

    def __init__(self, fill: Callable[[], Tensor]) -> None:
        super().__init__(nn.Linear(8, 1))
        self.user, self.item = nn.Parameter(fill()), nn.Parameter(fill())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (self.user[x[:, 0]] * self.item[x[:, 1]]).sum(-1)
        return y


class Scaled(Regressor):
    """A scale and a shift per class for each unit, that start at one and zero, before a last layer that starts at zero."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        self.scale, self.shift, self.unused = nn.Embedding(5, 8), nn.Embedding(5, 8), nn.Embedding(5, 8)
        nn.init.ones_(self.scale.weight)
        nn.init.ones_(self.unused.weight)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.net[2].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.net[:2](x.float())
        y: Tensor = self.net[2](hidden * self.scale(x[:, 0]) + self.shift(x[:, 1])).squeeze(-1)
        return y

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + 0.1 * self.unused.weight.square().mean()


@pytest.mark.parametrize(
    ("module", "alike"),
    [
        (Factors(std=None), ["user.weight", "item.weight"]),
        (Factors(std=None, sparse=True), ["user.weight", "item.weight"]),
        (Tables(lambda: torch.full((5, 4), 0.1)), ["user", "item"]),
        (Tables(lambda: torch.linspace(0.1, 1.0, 5)[:, None].repeat(1, 4)), ["user", "item"]),
        (Tables(lambda: torch.linspace(0.1, 1.0, 20).reshape(5, 4)), []),
        (Factors(), []),
        (Scaled(), []),
    ],
)
def test_tables_whose_columns_stay_equal(module: Regressor, alike: list[str]) -> None:
    pairs = torch.randint(5, (128, 2), generator=torch.Generator().manual_seed(0))
    record = sandboxed(module, loaders(pairs, pairs.float().sum(1))[0], lambda sandbox, record: signal_scale(sandbox, record))
    assert record.facts["probe.alike"] == alike
    assert not any(e["symmetric"] for e in record.facts.get("probe.initialization", ()))


def test_zeros_that_only_a_penalty_reaches_are_not_stuck() -> None:
    class Penalised(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(3, 4))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) + self.table.square().sum()

    record = sandboxed(Penalised(), loaders()[0], lambda sandbox, record: signal_scale(sandbox, record))
    assert record.facts["probe.stuck"] == []
