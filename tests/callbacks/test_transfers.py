"""A record waits for the device once: what would wait is counted while the instruments measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks.activations import Activations
from diagnose.callbacks.gradients import Gradients
from diagnose.callbacks.instrument import Instrument
from diagnose.callbacks.monitor import Monitor
from diagnose.callbacks.updates import Updates
from diagnose.measure.activation_statistics import statistics
from diagnose.measure.outputs import describe, score
from diagnose.measure.watched_losses import watch_losses

WAITING = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal", "aten.unique", "aten.bincount")


class Counting(TorchDispatchMode):
    """Operations for whose result the host waits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = str(func) == "aten.index.Tensor" and any(t is not None and t.dtype is torch.bool for t in args[1])
        if by_mask or str(func).startswith(WAITING):
            self.waits[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Everything(Monitor):
    def __init__(self) -> None:
        self.counting = Counting()
        super().__init__(every_n_steps=1, strict=True)

    def make(self) -> Iterator[Instrument]:
        yield Activations()
        yield Gradients()
        yield Updates()

    def _run(self, *arguments: Any) -> None:
        with self.counting:
            super()._run(*arguments)


class Net(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def test_one_transfer_per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers: list[int] = []
    tolist = Tensor.tolist

    def counted(self: Tensor) -> Any:
        transfers.append(len(self))
        return tolist(self)

    monkeypatch.setattr(Tensor, "tolist", counted)
    monkeypatch.setattr(Tensor, "is_cpu", False, raising=False)  # what is not there already has to be brought
    monitor = Everything()
    loader = DataLoader(TensorDataset(torch.randn(80, 4), torch.randint(3, (80,))), batch_size=8)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        gradient_clip_val=0.1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[monitor],
    )
    trainer.fit(Net(), loader)
    assert monitor.counting.waits == {}
    assert len(transfers) == 10
    assert len(monitor.record.series("clip/ratio")) == len(monitor.record.series("activation/mean")) == 10


@pytest.mark.parametrize("kind", ["relu", "gelu", "tanh", "softmax"])
def test_activations_are_measured_without_waiting(kind: str) -> None:
    output = torch.randn(300, 400)
    with Counting() as counting:
        statistics(output, kind)
    assert counting.waits == {}


def test_predictions_are_described_without_waiting() -> None:
    target = torch.randint(3, (20,))
    target[0] = -100
    with watch_losses() as watch:
        nn.functional.cross_entropy(torch.randn(20, 3), target)
    with Counting() as counting:
        describe(watch.calls[0])
        score(watch.calls[0])
    assert counting.waits == {}


def test_what_waits_is_counted() -> None:
    with Counting() as counting:
        assert torch.ones(3)[torch.ones(3) > 0].sum().item() == 3
    assert sum(counting.waits.values()) == 2
