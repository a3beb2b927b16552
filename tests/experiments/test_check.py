"""`check` leaves everything as it was, and finds what is wrong whatever the batches are like."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from diagnose.callbacks import Doctor
from diagnose.experiments.check import check
from diagnose.experiments.sources import sources
from diagnose.rules import build
from diagnose.values import Severity
from tests.experiments.checked import Adversarial, Dict, NoOptimizers, Remembers, examined, rows, silent
from tests.experiments.odd import Classifier, Regressor, blobs, loaders

# What stays as it was


def test_weights_gradients_modes_and_random_states() -> None:
    module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    module.net[3].eval()
    F.cross_entropy(module(blobs()[0]), blobs()[1]).backward()  # type: ignore[no-untyped-call]
    module.net[1].reset_running_stats()  # type: ignore[operator]
    train = DataLoader(Remembers(), 16, shuffle=True, generator=torch.Generator().manual_seed(4))
    diagnosis, record = examined(module, train)
    assert {o.code for o in diagnosis.outcomes} == {rule.code for rule in build()}
    assert [f.rule for f in diagnosis.at_or_above("error")] == ["wrong-mode"]
    assert record.facts["probe.overfit"]["progress"] > 0.8


def test_a_module_with_a_trainer_keeps_it() -> None:
    module = Classifier()
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    trainer.fit(module, *loaders())
    assert module.trainer is trainer
    silent(module, *loaders(), trainer=trainer)
    assert module.trainer is trainer


def test_the_same_training_follows() -> None:
    def trained(look: bool) -> list[Tensor]:
        torch.manual_seed(3)
        module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        train, val = loaders()
        if look:
            check(module, train, val, patience=math.inf)
        trainer = Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
        trainer.fit(module, train, val)
        return [*module.parameters(), *module.buffers()]

    assert all(torch.equal(a, b) for a, b in zip(trained(look=False), trained(look=True), strict=True))


def test_nothing_is_printed_or_written(capfd: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    class Loud(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            warnings.warn("of the module", stacklevel=1)
            return super().training_step(batch, batch_idx)

    silent(Loud(), *loaders())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_twice_gives_the_same() -> None:
    module, (train, val) = Classifier(), loaders()
    one, two = (check(module, train, val, patience=math.inf) for _ in range(2))
    assert one.to_dict() == two.to_dict()


# What is wrong


def test_a_wrong_module_is_found_whatever_the_batch() -> None:
    class Double(Dict):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(1)

    diagnosis, _ = examined(Double(), DataLoader(rows(), 16, shuffle=True))  # type: ignore[arg-type]
    (finding,) = diagnosis.at_or_above("warning")
    assert (finding.rule, finding.severity) == ("activation-loss-mismatch", Severity.ERROR)
    assert finding.where.startswith("checked.py:")


def test_manual_optimisation_is_judged_as_well() -> None:
    class Lost(Adversarial):
        def configure_optimizers(self) -> Any:
            optimizers, schedulers = super().configure_optimizers()
            optimizers[1] = torch.optim.Adam(self.judge[:1].parameters())
            return optimizers, schedulers

    diagnosis, _ = examined(Lost(), *loaders())
    assert [f.rule for f in diagnosis.at_or_above("warning")] == ["missing-from-optimizer"]


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_regression_against_a_row() -> None:
    class Row(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self(batch[0]), batch[1])

    x, _ = blobs()
    diagnosis, _ = examined(Row(), *loaders(x, x[:, 0]))
    assert [f.rule for f in diagnosis.at_or_above("warning")] == ["loss-broadcast"]


# Where it stands


def test_sources_are_the_users_own_hooks() -> None:
    places = sources(Classifier())
    assert set(places) == {"training_step", "validation_step", "forward", "configure_optimizers", "__init__"}
    assert all(place.startswith("odd.py:") for place in places.values())
    assert set(sources(NoOptimizers())) == {"training_step"}


@pytest.mark.parametrize(
    ("layers", "steps", "runs"),
    [
        ((nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3)), 0, False),
        ((nn.LazyLinear(3),), 0, True),  # nothing is left that would tell whether it was trained
        ((nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3)), 1, True),
        ((nn.Linear(8, 3),), 0, False),
    ],
)
def test_the_evidence_of_lazy_layers_is_taken_over(
    layers: tuple[nn.Module, ...], steps: int, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, (train, val) = Classifier(*copy.deepcopy(layers)), loaders()
    check(module, train, val)
    for _ in range(steps):
        F.cross_entropy(module(blobs()[0]), blobs()[1]).backward()  # type: ignore[no-untyped-call]
        torch.optim.SGD(module.parameters(), lr=0.1).step()
    ran: list[int] = []
    monkeypatch.setattr("diagnose.experiments.check.gather", lambda *args, **kwargs: ran.append(1))
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_epochs=1, accelerator="cpu", callbacks=[Doctor(strict=True)], **quiet).fit(module, train, val)
    assert bool(ran) == runs
