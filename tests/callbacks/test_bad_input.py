"""Programs that cannot be looked into, or are broken: `check` and the Doctor say why, and raise nothing of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import diagnose
from diagnose.callbacks import Doctor
from diagnose.record import Record
from diagnose.values import Diagnosis, Status

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "max_epochs": 3,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`"),
    pytest.mark.filterwarnings("ignore:.*returned `None`"),
    pytest.mark.filterwarnings("ignore:Total length of"),
]


def rows(n: int = 160) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (n,), generator=generator)
    return 2 * F.one_hot(y, 6).float() + 0.5 * torch.randn(n, 6, generator=generator), y


def data() -> DataLoader[Any]:
    return DataLoader(TensorDataset(*rows()), 16, shuffle=True)


class Net(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


def both(module: type[LightningModule], loader: Any = None) -> tuple[Diagnosis, Record, Doctor]:
    """Check a module, and train another of its kind under a Doctor; neither may crash."""
    record = Record()
    checked = diagnose.check(module(), loader() if loader else data(), record=record)
    doctor = Doctor()
    Trainer(**QUIET, callbacks=[doctor]).fit(module(), loader() if loader else data())
    for diagnosis in (checked, doctor.diagnosis):
        assert [o for o in diagnosis.outcomes if o.status is Status.CRASHED] == []
    return checked, record, doctor


def alarms(*diagnoses: Diagnosis) -> list[str]:
    return [f.rule for d in diagnoses for f in d.at_or_above("warning")]


class AsksTheTrainer(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        share = (1 + self.trainer.global_step) / float(self.trainer.estimated_stepping_batches)
        assert self.trainer.num_training_batches == 10
        return super().training_step((batch[0] + 0.01 * share, batch[1]), batch_idx)


class HoldsItsTargets(Net):
    """The loader gives numbers of rows only."""

    def __init__(self) -> None:
        super().__init__()
        x, y = rows()
        self.register_buffer("x", x)
        self.register_buffer("y", y)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(self.x[batch[0]]), self.y[batch[0]])  # type: ignore[index]


class OwnLoss(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return (self.net(batch[0]).sigmoid() - F.one_hot(batch[1], 3)).abs().pow(1.5).sum(1).mean()


class HoldsAGenerator(Net):
    """It cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = (i for i in range(3))


class Locked:
    """A batch that can be used and not copied."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("locked")

    __copy__ = __reduce__ = __deepcopy__  # type: ignore[assignment]


class TakesLocked(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch.x), batch.y)


def locked() -> DataLoader[Any]:
    def together(items: list[Any]) -> Locked:
        return Locked(*(torch.stack(part) for part in zip(*items, strict=True)))

    return DataLoader(TensorDataset(*rows()), 16, shuffle=True, collate_fn=together)


def numbers() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(160)), 16, shuffle=True)


@pytest.mark.parametrize(
    ("module", "loader", "missing", "reason"),
    [
        (AsksTheTrainer, None, "", ""),
        (HoldsItsTargets, numbers, "probe.learning", "the targets of the loss were not found in the batch"),
        (OwnLoss, None, "probe.overfit", "no loss was found in the step"),
        (HoldsAGenerator, None, "probe.step", "the module cannot be copied"),
        (TakesLocked, locked, "probe.dependence", "the tensors of the batch share no batch axis"),
    ],
)
def test_odd_but_sound(module: type[LightningModule], loader: Any, missing: str, reason: str) -> None:
    checked, record, doctor = both(module, loader)
    assert alarms(checked, doctor.diagnosis) == []
    assert len(doctor.record.series("train/loss")) == 30
    if missing:
        assert reason in record.missing[missing]


class Empty(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize("loader", [lambda: DataLoader(TensorDataset(torch.zeros(0, 6)), 4), lambda: DataLoader(Empty(), 4)])
def test_a_loader_that_yields_nothing(loader: Any) -> None:
    checked, record, doctor = both(Net, loader)
    assert alarms(checked, doctor.diagnosis) == []
    assert record.missing["probe.step"] == "the loader gave no batch"
    assert {o.status for o in doctor.diagnosis.outcomes} <= {Status.NOT_RUN, Status.CLEAN}


class Forgets(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        super().training_step(batch, batch_idx)


class NoOptimizer(Net):
    def configure_optimizers(self) -> Any:
        return None


def test_a_step_that_returns_nothing_is_named() -> None:
    checked, _, doctor = both(Forgets)
    assert alarms(checked) == ["no-gradient"]
    assert alarms(doctor.diagnosis) == ["no-gradient"]
    assert "training_step returned no loss with a gradient" in checked.findings[0].message


def test_a_module_without_an_optimizer() -> None:
    checked, _, doctor = both(NoOptimizer)
    for diagnosis in (checked, doctor.diagnosis):
        assert alarms(diagnosis) == []
        reasons = {o.rule: o.reason for o in diagnosis.outcomes}
        assert reasons["missing-from-optimizer"] == "configure_optimizers returned no optimizer"


class Raises(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 4:
            raise KeyError("my own fault")
        return super().training_step(batch, batch_idx)


class RaisesAtOnce(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        raise KeyError("my own fault")


@pytest.mark.parametrize("module", [Raises, RaisesAtOnce])
def test_an_error_of_the_users_own_keeps_its_traceback(module: type[LightningModule], caplog: pytest.LogCaptureFixture) -> None:
    doctor = Doctor()
    with caplog.at_level(logging.WARNING, "diagnose"), pytest.raises(KeyError, match="my own fault") as raised:
        Trainer(**QUIET, callbacks=[doctor]).fit(module(), data())
    assert str(raised.traceback[-1].path).endswith("test_bad_input.py")
    assert doctor.record.facts["run"]["interrupted"] == "KeyError: 'my own fault'"
    assert alarms(doctor.diagnosis) == []
    assert "failed" not in caplog.text
    record = Record()
    assert alarms(diagnose.check(module(), data(), record=record)) == []
    if module is RaisesAtOnce:
        assert "KeyError: 'my own fault' (test_bad_input.py:" in record.missing["probe.step"]
