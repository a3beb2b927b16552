"""What the tests of `check` share: it is run, and all that it must leave alone is compared."""

from __future__ import annotations

import logging
import math
import random
import warnings
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from diagnose.experiments.check import check
from diagnose.record import Record
from diagnose.rules import build
from diagnose.values import Diagnosis, Status
from tests.experiments.odd import Classifier, blobs


def state(module: LightningModule, *others: Any) -> list[Any]:
    """All that a check could change, as plain values."""
    tensors = {n: t for n, t in [*module.named_parameters(), *module.named_buffers()] if not isinstance(t, LAZY)}
    loggers = [logging.getLogger(n) for n in ("", "lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    return [
        {n: (t.dtype, t.tolist(), t.requires_grad, t._version) for n, t in tensors.items()},
        {n: None if t.grad is None else (id(t.grad), t.grad.tolist()) for n, t in tensors.items() if t.is_leaf},
        {n: (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in module.named_modules()},
        {n: len(getattr(t, "_post_accumulate_grad_hooks", None) or ()) for n, t in tensors.items()},
        (set(vars(module)), id(module._trainer)),
        (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        (torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()),
        (torch.get_float32_matmul_precision(), torch.is_anomaly_enabled(), torch.is_inference_mode_enabled()),
        [(logger.level, len(logger.handlers), len(logger.filters)) for logger in loggers],
        [g.get_state().tolist() for x in others for o in (x, x.sampler) if (g := getattr(o, "generator", None))],
        [vars(x.dataset).copy() for x in others if isinstance(getattr(x, "dataset", None), Remembers)],
        list(warnings.filters),
    ]


LAZY = (nn.UninitializedParameter, nn.parameter.UninitializedBuffer)


def examined(module: Any, train: Any = None, val: Any = None, **options: Any) -> tuple[Diagnosis, Record]:
    """Check, and hold what must stay against what it was."""
    record, inner = Record(), getattr(module, "_orig_mod", module)
    parts = [x for x in (train, val) if isinstance(x, DataLoader)]
    before = state(inner, *parts)
    diagnosis = check(module, train, val, record=record, **{"patience": math.inf, **options})
    assert state(inner, *parts) == before
    assert [(o.code, o.reason) for o in diagnosis.outcomes if o.status is Status.CRASHED] == []
    return diagnosis, record


def silent(module: Any, train: Any = None, val: Any = None, **options: Any) -> Record:
    """Check something sound, by the rules of the model: no alarm, and the step could be taken apart."""
    diagnosis, record = examined(module, train, val, rules=build(["M", "D110"]), **options)
    assert diagnosis.at_or_above("warning") == ()
    assert "probe.step" in record, record.missing.get("probe.step")
    return record


class Remembers(Dataset[tuple[Tensor, Tensor]]):
    """A data set that counts what is read of it."""

    def __init__(self) -> None:
        self.x, self.y = (t.tolist() for t in blobs())
        self.reads = 0

    def __len__(self) -> int:
        return 128

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        return torch.tensor(self.x[index]), torch.tensor(self.y[index])


class Dict(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": F.cross_entropy(self(batch["x"]), batch["y"]), "preds": None}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)


def rows(n: int = 128) -> list[dict[str, Any]]:
    x, y = blobs(n)
    return [{"x": x[i], "y": y[i], "name": f"row {i}"} for i in range(n)]


class Adversarial(Classifier):
    """Two networks, two optimizers, manual optimisation."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
        self.judge = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        makes, judges = self.optimizers()  # type: ignore[attr-defined]
        real, fake = batch[0], self.net(torch.randn(len(batch[0]), 4))
        self.toggle_optimizer(makes)
        makes.zero_grad()
        self.manual_backward(F.binary_cross_entropy_with_logits(self.judge(fake), torch.ones(len(fake), 1)))
        makes.step()
        self.untoggle_optimizer(makes)
        loss = F.softplus(-self.judge(real)).mean() + F.softplus(self.judge(fake.detach())).mean()
        judges.zero_grad()
        self.manual_backward(loss)
        judges.step()
        self.lr_schedulers().step()  # type: ignore[union-attr]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.judge(batch[0])

    def configure_optimizers(self) -> Any:
        makes, judges = (torch.optim.Adam(net.parameters(), 1e-3) for net in (self.net, self.judge))
        return [makes, judges], [torch.optim.lr_scheduler.StepLR(makes, 10)]


class Data(LightningDataModule):
    def setup(self, stage: str) -> None:
        self.data = TensorDataset(*blobs())

    def train_dataloader(self) -> Any:
        return DataLoader(self.data, 16 // self.trainer.world_size, shuffle=True)  # type: ignore[union-attr]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return {"x": batch[0], "y": batch[1]}


class NoOptimizers(LightningModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return batch[0].mean()
