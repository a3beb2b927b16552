"""What stays behind when a fit ends, breaks off, is interrupted or comes again: no hook, no mode, no batch, no activation."""

from __future__ import annotations

import gc
import io
import weakref
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import Doctor
from diagnose.record import Record
from tests.callbacks.identity import QUIET, watchers

STEPS = 8
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Net(lightning.LightningModule):
    """Keeps weak references to its batches and activations, and may break off in a training step of its own."""

    def __init__(self, failure: type[BaseException] | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
        self.failure = failure
        self.seen: list[weakref.ref[Tensor]] = []
        self.live = False

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.live = self.trainer.global_step >= 0 and any(isinstance(c, Doctor) for c in self.trainer.callbacks)  # type: ignore[attr-defined]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        hidden = self.net[:3](batch[0])
        if self.live:
            self.seen += [weakref.ref(batch[0]), weakref.ref(hidden)]
            if self.failure is not None and batch_idx == STEPS - 2:
                raise self.failure("in a step")
        return nn.functional.cross_entropy(self.net[3](hidden), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8 * STEPS, 6, generator=generator)
    data = TensorDataset(x, x[:, :3].argmax(1))
    return DataLoader(data, 8), DataLoader(data, 32)


def hooks(module: nn.Module) -> int:
    own = sum(len(getattr(child, name)) for child in module.modules() for name in HOOKS)
    return own + sum(len(p._backward_hooks or ()) for p in module.parameters())


def train(module: Net, callbacks: list[lightning.Callback], epochs: int = 2) -> lightning.Trainer:
    trainer = lightning.Trainer(**QUIET, logger=False, enable_checkpointing=False, max_epochs=epochs, callbacks=callbacks)
    trainer.fit(module, *loaders())
    return trainer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize("failure", [None, ValueError, KeyboardInterrupt])
def test_nothing_stays_behind(failure: type[BaseException] | None, every: int | None) -> None:
    module, callbacks = Net(failure), watchers(every)
    global_hooks = len(nn.modules.module._global_forward_hooks)
    if failure is None:
        train(module, callbacks)
        train(module, callbacks)
    else:
        with pytest.raises((failure, SystemExit)):
            train(module, callbacks)
    assert module.seen
    assert hooks(module) == 0
    assert len(nn.modules.module._global_forward_hooks) == global_hooks
    assert _get_current_function_mode_stack() == []  # type: ignore[no-untyped-call]
    assert _get_current_dispatch_mode_stack() == []
    seen, module.seen = module.seen, []
    module._trainer = None
    gc.collect()
    assert [r for r in seen if r() is not None] == []
    for callback in callbacks:
        buffer = io.BytesIO()
        torch.save(callback.state_dict(), buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)


class Stop(lightning.Callback):
    """Ends a fit in the middle of an epoch and keeps a checkpoint of it."""

    def __init__(self, path: Any, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("step", [3, STEPS, STEPS + 5])
def test_a_resumed_record_has_no_gap_and_no_double(step: int, tmp_path: Any) -> None:
    for path in (None, tmp_path / "mid.ckpt"):
        doctor = Doctor(probes=False, strict=True, record=tmp_path / "record")
        own = [] if path else [Stop(tmp_path / "mid.ckpt", step)]
        trainer = lightning.Trainer(
            **QUIET, logger=False, enable_checkpointing=not path, max_epochs=2, default_root_dir=tmp_path, callbacks=[doctor, *own]
        )
        trainer.fit(Net(), *loaders(), ckpt_path=path, weights_only=False if path else None)
        doctor.record.close()
    saved = Record.read(tmp_path / "record").series("train/loss")
    assert saved.step.tolist() == saved.batch.tolist() == list(range(2 * STEPS))
