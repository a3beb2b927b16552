from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from diagnose.experiments.anatomy import examine
from diagnose.experiments.dependence import evaluating, swap_samples
from diagnose.experiments.probing import gather
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record
from diagnose.rules import diagnose
from tests.experiments.odd import Classifier, Regressor, blobs, loaders, sandboxed


def swapped(module: Any, *, validate: bool = False, batch_size: int = 16) -> Record:
    train, val = loaders(batch_size=batch_size)
    return sandboxed(module, train, lambda sandbox, record: swap_samples(sandbox, record), val=val if validate else None)


def test_independent_samples() -> None:
    seen = swapped(Classifier()).facts["probe.dependence"]
    assert (seen["kept"], seen["noise"], seen["samples"]) == (0.0, 0.0, 16)
    assert seen["swapped"] > 0.5


class Mixing(Classifier):
    """Samples and features change places, as a wrong reshape makes them."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x.t().reshape(len(x), -1))
        return y


class BatchMean(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x - x.mean(0))
        return y


class Attending(Classifier):
    """Attention over the batch: invariant to its order."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net((x @ x.t()).softmax(1) @ x)
        return y


@pytest.mark.parametrize("kind", [Mixing, BatchMean, Attending])
@pytest.mark.parametrize("validate", [False, True])
def test_samples_that_see_each_other(kind: type[Classifier], validate: bool) -> None:
    assert swapped(kind(), validate=validate).facts["probe.dependence"]["kept"] > 0.05


def test_batch_norm_is_in_eval_mode() -> None:
    module = Classifier(nn.BatchNorm1d(8), nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    seen = swapped(module).facts["probe.dependence"]
    assert (seen["kept"], seen["noise"]) == (0.0, 0.0)
    bare = swapped(Classifier(nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)))
    assert "without running statistics mixes the samples by design" in bare.missing["probe.dependence"]


def test_samples_made_from_noise_need_no_input() -> None:
    class Generator(Regressor):
        noisy = True

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            made = self(torch.randn(len(batch[0]), 8) if self.noisy else torch.ones(len(batch[0]), 8))
            return F.l1_loss(made.expand(-1, 8), batch[0])

    x, _ = blobs()
    for noisy in (True, False):
        module = type("Own", (Generator,), {"noisy": noisy})()
        record = sandboxed(module, loaders(x)[0], lambda sandbox, record: swap_samples(sandbox, record))
        assert ("the step generates samples" in record.missing.get("probe.dependence", "")) is noisy
        assert noisy or record.facts["probe.dependence"]["swapped"] == 0.0


def test_an_output_that_ignores_its_input() -> None:
    class Constant(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(torch.zeros_like(x))
            return y

    assert swapped(Constant()).facts["probe.dependence"]["swapped"] == 0.0


class Mixup(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        order = torch.randperm(len(x))
        scores = self(0.7 * x + 0.3 * x[order])
        return 0.7 * F.cross_entropy(scores, y) + 0.3 * F.cross_entropy(scores, y[order])


class Prototypes(Classifier):
    """Few-shot learning: the batch is one task."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        z = self(x)
        centres = torch.stack([z[y == k].mean(0) for k in range(3)])
        return F.cross_entropy(-torch.cdist(z, centres), y)


@pytest.mark.parametrize("kind", [Mixup, Prototypes])
def test_samples_that_are_mixed_on_purpose(kind: type[Classifier]) -> None:
    record = swapped(kind(), batch_size=96)
    assert "probe.dependence" not in record
    assert record.missing["probe.dependence"].startswith("the step mixes samples on purpose")


def test_partners_that_are_drawn_are_mixed_on_purpose() -> None:
    class Harder(Classifier):
        """Mixup against the label of the larger share."""

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            return F.cross_entropy(self(0.7 * x + 0.3 * x[torch.randperm(len(x))]), y)

    class Neighbour(Classifier):
        """The same partners each time: no augmentation."""

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            return F.cross_entropy(self(0.7 * x + 0.3 * x.roll(1, 0)), y)

    assert "chance decides which ones" in swapped(Harder()).missing["probe.dependence"]
    assert swapped(Neighbour()).facts["probe.dependence"]["kept"] > 0.05


def test_the_validation_step_is_asked_first() -> None:
    assert swapped(Mixup(), validate=True).facts["probe.dependence"]["kept"] == 0.0


class InBatchNegatives(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        z = F.normalize(self(batch[0]), dim=1)
        return F.cross_entropy(z @ z.t() / 0.1, torch.arange(len(z)))


def test_contrastive_losses_have_no_target_per_sample() -> None:
    assert "targets of the loss were not found in the batch" in swapped(InBatchNegatives()).missing["probe.dependence"]


class Graph(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, adjacency, y = batch
        return F.cross_entropy(self.net(adjacency @ x), y)


def test_graphs_are_not_judged() -> None:
    x, y = blobs(16)
    adjacency = torch.eye(16) + torch.rand(16, 16).round()
    whole: DataLoader[Any] = DataLoader([(x, adjacency, y)], batch_size=None)  # type: ignore[arg-type]
    record = sandboxed(Graph(), whole, lambda sandbox, record: swap_samples(sandbox, record))
    assert "the data set gives whole batches" in record.missing["probe.dependence"]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):  # the reason why the probe did not run
        sandboxed(Graph(), Once((x, adjacency, y)), lambda sandbox, record: swap_samples(sandbox, record))


class Once:
    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __iter__(self) -> Any:
        yield self.batch


def test_inputs_that_are_no_tensors() -> None:
    class Words(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x = torch.tensor([[ord(c) / 100 for c in word] for word in batch["word"]])
            return F.cross_entropy(self(x), batch["label"])

    rows = [{"word": "".join(chr(97 + (i * k) % 26) for k in range(8)), "label": i % 3, "id": i} for i in range(48)]
    seen = sandboxed(Words(), DataLoader(rows, 16), lambda sandbox, record: swap_samples(sandbox, record))  # type: ignore[arg-type]
    assert seen.facts["probe.dependence"]["swapped"] > 0
    assert seen.facts["probe.dependence"]["kept"] == 0

    class Thing:
        def __init__(self, x: Tensor) -> None:
            self.x = x

    class Things(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch[0].x), batch[1])

    x, y = blobs(48)
    once = Once((Thing(x), y, torch.arange(48)))
    record = sandboxed(Things(), once, lambda sandbox, record: swap_samples(sandbox, record))
    assert "objects of its own kind" in record.missing["probe.dependence"]
    several = sandboxed(Things(), Once((Thing(x), y, y.clone().float())), lambda sandbox, record: swap_samples(sandbox, record))
    assert "objects of its own kind" in several.missing["probe.dependence"]


class FirstState(Classifier):
    """The head reads the state that went into the recurrent layer, in place of the one that came out of it."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 3))
        self.lstm = nn.LSTM(8, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(1, len(x), 6)
        self.lstm(x[:, None], (state, state))
        y: Tensor = self.net(state[-1])
        return y


class OneCode(Classifier):
    """An argmax that finds the same code for all samples, so the outputs are equal; but they follow the weights before it."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 3))
        self.encoder = nn.Linear(8, 6)
        nn.init.zeros_(self.encoder.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(F.one_hot(self.encoder(x).argmax(1), 6).float())
        return y


@pytest.mark.parametrize(("module", "count"), [(FirstState(), 4), (OneCode(), 0)])
def test_what_is_computed_in_vain(module: Classifier, count: int) -> None:
    weights = [p.clone() for p in module.parameters()]
    facts: list[Any] = []

    def probe(sandbox: Sandbox, record: Record) -> None:
        examine(sandbox, record)
        before = [p.clone() for p in sandbox.module.parameters()]
        swap_samples(sandbox, record)
        assert all(torch.equal(a, b) for a, b in zip(before, sandbox.module.parameters(), strict=True))
        facts.append(record.facts["probe.dependence"])

    sandboxed(module, loaders()[0], probe)
    assert facts[0]["swapped"] == 0.0
    assert len(facts[0]["unheard"]) == count
    assert all(torch.equal(a, b) for a, b in zip(weights, module.parameters(), strict=True))


class ByHand(Classifier):
    """The same network, trained by manual optimisation."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [Classifier, ByHand])
def test_a_last_layer_that_starts_at_zero_at_the_start_of_a_fit(kind: type[Classifier]) -> None:
    module = kind(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    nn.init.zeros_(module.net.get_parameter("2.weight"))
    record = Record()
    gather(record, module, loaders()[0], None, short=True, steps=10)
    if kind is ByHand:
        assert "the module takes its own steps" in record.missing["probe.dependence"]
    else:
        assert record.facts["probe.dependence"]["swapped"] > 0.1
    assert [f.rule for f in diagnose(record).at_or_above("warning")] == []


def test_samples_that_are_all_equal() -> None:
    x, y = torch.ones(48, 8), torch.arange(48) % 3
    record = sandboxed(Classifier(), Once((x, y)), lambda sandbox, record: swap_samples(sandbox, record))
    assert "no tensor of the batch but the target differs" in record.missing["probe.dependence"]


def test_too_few_samples() -> None:
    record = sandboxed(Classifier(), loaders(batch_size=3)[0], lambda sandbox, record: swap_samples(sandbox, record))
    assert "share no batch axis" in record.missing["probe.dependence"]


def test_modes_come_back() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    net[2].eval()
    with evaluating(net):
        assert not any(m.training for m in net.modules())
    assert [m.training for m in net.modules()] == [True, True, True, False]
