"""What `check` says where it cannot look: the reason, and never a verdict."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from diagnose.experiments.check import check
from diagnose.experiments.probing import PROBES
from diagnose.record import Record
from diagnose.rules import build
from diagnose.values import Status
from tests.experiments.checked import Data, Dict, NoOptimizers, examined, silent
from tests.experiments.odd import Classifier, blobs, loaders


def reasons(module: Any, train: Any = None, val: Any = None, **options: Any) -> dict[str, str]:
    """Why nothing could be found out."""
    diagnosis, record = examined(module, train, val, rules=build(["M", "D110"]), **options)
    assert diagnosis.findings == ()
    return record.missing


class Generates(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = (i for i in range(3))


class Raises(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        raise KeyError("my own fault")


class BadOptimizers(Classifier):
    def configure_optimizers(self) -> Any:
        raise ValueError("no such rate")


class Vector(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self(batch[0]), batch[1], reduction="none")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Generates, "the module cannot be copied"),
        (NoOptimizers, "No `configure_optimizers()` method defined"),
        (BadOptimizers, "the module cannot be set up for training (ValueError: no such rate (test_check_refusals.py:"),
        (Raises, "KeyError: 'my own fault' (test_check_refusals.py:"),
        (Vector, "training_step returned a tensor of shape (16,)"),
    ],
)
def test_modules_that_cannot_be_probed(kind: type[LightningModule], reason: str) -> None:
    missing = reasons(kind(), *loaders())
    assert reason in missing["probe.step"]
    assert {name for name in PROBES if name in missing} >= {"probe.step", "probe.parameters", "probe.overfit", "probe.learning"}


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (None, "there is no training loader"),
        ([], "there is no loader"),
        (DataLoader([], 4), "the loader gave no batch"),  # type: ignore[arg-type]
        ((blobs(16) for _ in range(9)), "plain iterator"),
    ],
)
def test_loaders_that_cannot_be_read(train: Any, reason: str) -> None:
    missing = reasons(Classifier(), train)
    assert set(missing) >= set(PROBES)
    assert all(reason in missing[name] for name in PROBES)


def test_a_data_module_that_raises() -> None:
    class Broken(Data):
        def setup(self, stage: str) -> None:
            raise OSError("no data here")

    assert "the training data cannot be set up (OSError: no data here" in reasons(Dict(), datamodule=Broken())["probe.step"]


def test_an_error_after_the_loss_is_told_and_judged_no_further() -> None:
    class Later(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            raise KeyError("afterwards")

    diagnosis, record = examined(Later(), *loaders())
    assert "KeyError: 'afterwards' (test_check_refusals.py:" in record.facts["probe.step"]["raised"]
    assert "the module's own training_step raised KeyError" in record.missing["probe.initial_loss"]
    assert diagnosis.at_or_above("warning") == ()


class Sparse(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self(batch[0].to_dense()), batch[1])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_batches(layout: torch.layout) -> None:
    def collate(rows: list[Any]) -> Any:
        x = torch.stack([x for x, _ in rows]).relu()
        return x.to_sparse() if layout is torch.sparse_coo else x.to_sparse_csr(), torch.stack([y for _, y in rows])

    silent(Sparse(), loaders(collate_fn=collate)[0])


def test_without_an_optimizer_the_rest_is_judged() -> None:
    class Bare(Classifier):
        def configure_optimizers(self) -> Any:
            return None

    diagnosis, _ = examined(Bare(), *loaders(), rules=build(["M"]))
    outcomes = {o.rule: o for o in diagnosis.outcomes}
    assert outcomes["missing-from-optimizer"].reason == "configure_optimizers returned no optimizer"
    assert outcomes["initial-loss"].status is Status.CLEAN
    assert diagnosis.at_or_above("warning") == ()


def test_a_step_that_forgets_its_loss() -> None:
    class Forgets(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)

    diagnosis, _ = examined(Forgets(), *loaders())
    assert "training_step returned no loss with a gradient" in diagnosis.findings[0].message


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_strict_raises_the_users_own_error(error: type[Exception]) -> None:
    class Own(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise error("mine")

    with pytest.raises(error, match="mine"):
        check(Own(), *loaders(), strict=True)


def test_an_interrupt_passes() -> None:
    class Slow(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(Slow(), *loaders())


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a LightningModule of lightning.pytorch or pytorch_lightning, got torch\.nn"):
        check(nn.Linear(2, 2))  # type: ignore[arg-type]


def test_trainings_that_would_take_too_long_are_left_out() -> None:
    record = Record()
    check(Classifier(), *loaders(), record=record, patience=1e-9)
    told = re.compile(r"\d+ steps of training take about \d+ s here; diagnose.check\(..., patience=\) allows more")
    assert told.fullmatch(record.missing["probe.overfit"])
    assert told.fullmatch(record.missing["probe.learning"])
    assert "probe.initial_loss" in record.facts


@pytest.mark.parametrize("patience", [0.0, -1.0, math.nan])
def test_patience_is_above_zero(patience: float) -> None:
    with pytest.raises(ValueError, match="expected patience in seconds, above zero, got"):
        check(Classifier(), *loaders(), patience=patience)
