from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.copying import Unusable, told
from diagnose.experiments.sandbox import Sandbox, quiet, random_state_kept, run_in_sandbox
from diagnose.record import Record
from tests.experiments.odd import Classifier, blobs, loaders, sandboxed

BATCH = tuple(t[:16] for t in blobs())


def inside(module: LightningModule, use: Callable[[Sandbox], Any], **options: Any) -> Any:
    """What ``use`` returns inside a sandbox around the module."""
    results: list[Any] = []
    run_in_sandbox(module, [BATCH, BATCH], [BATCH], lambda sandbox: results.append(use(sandbox)), **options)
    return results[0]


def test_the_copy_is_set_up_and_the_module_is_not() -> None:
    module = Classifier()
    twin, optimizers = inside(module, lambda s: (s.module, s.optimizers))
    assert twin is not module
    assert [type(o) for o in optimizers] == [torch.optim.Adam]
    assert module._trainer is None
    assert "log" not in module.__dict__
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), twin.parameters(), strict=True))


def test_random_states_come_back() -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    with random_state_kept():
        random.random(), np.random.rand(), torch.rand(1)
    assert states() == before
    with pytest.raises(ZeroDivisionError), random_state_kept():
        torch.rand(1) / (1 // 0)
    assert states() == before


def test_quiet_swallows_warnings_and_puts_levels_back(caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        warnings.warn("of the copy", stacklevel=1)
        Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    assert caplog.records == []
    with pytest.raises(UserWarning, match="of the user"):
        warnings.warn("of the user", UserWarning, stacklevel=1)


# Steps


@pytest.mark.parametrize(
    "step",
    [
        lambda self, batch: F.cross_entropy(self(batch[0]), batch[1]),
        lambda self, batch, batch_idx: F.cross_entropy(self(batch[0]), batch[1]) + 0 * batch_idx,
        lambda self, batch, batch_idx=None: F.cross_entropy(self(batch[0]), batch[1]) + 0 * batch_idx,
        lambda self, batch, batch_idx, dataloader_idx=0: F.cross_entropy(self(batch[0]), batch[1]) + 0 * dataloader_idx,
        lambda self, batch, batch_idx, dataloader_idx: F.cross_entropy(self(batch[0]), batch[1]) + 0 * dataloader_idx,
        lambda self, *args: F.cross_entropy(self(args[0][0]), args[0][1]) + 0 * args[1],
        lambda self, batch, batch_idx, *, flag=True: {"loss": F.cross_entropy(self(batch[0]), batch[1]), "more": 1},
        lambda self, dataloader_iter: F.cross_entropy(self((b := next(dataloader_iter))[0][0]), b[0][1]),
    ],
)
def test_every_signature_of_a_step(step: Callable[..., Any]) -> None:
    kind = type("Own", (Classifier,), {"training_step": step, "validation_step": step})
    module = kind()
    expected = F.cross_entropy(module(BATCH[0]), BATCH[1])
    loss, _ = inside(module, lambda s: s.training_step(s.move(s.batches[0])))
    assert torch.equal(loss, expected)
    if "dataloader_iter" not in step.__code__.co_varnames:
        value = inside(module, lambda s: s.validation_step(s.move(s.held_out[0])))
        assert torch.equal(value["loss"] if isinstance(value, dict) else value, expected)


def test_none_and_vectors_are_no_loss() -> None:
    for value in (None, torch.zeros(3), 0.5, {"preds": torch.zeros(1)}):
        kind = type("Own", (Classifier,), {"training_step": lambda self, batch, batch_idx, value=value: value})
        assert inside(kind(), lambda s: s.training_step(s.move(s.batches[0]), 0))[0] is None


def test_names_that_are_logged() -> None:
    class Logs(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log(name="a", value=1.0)
            self.log("b", torch.ones(()), on_step=True, on_epoch=True, prog_bar=True, sync_dist=True, reduce_fx="max", batch_size=3)
            self.log_dict(dictionary={"c": 1.0}, on_epoch=True)
            return super().training_step(batch, batch_idx)

    def use(sandbox: Sandbox) -> dict[str, str]:
        sandbox.training_step(sandbox.move(BATCH))
        sandbox.validation_step(sandbox.move(BATCH))
        return sandbox.logged

    assert inside(Logs(), use) == {**dict.fromkeys(("a", "b", "c", "train_loss"), "training"), "val_loss": "validation"}


def test_loggers_of_every_kind_may_be_called() -> None:
    class Uses(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            assert self.logger is not None
            self.logger.experiment.add_scalar("x", 1.0, self.global_step)  # type: ignore[attr-defined]
            self.logger.log_image(key="k", images=[batch[0]])  # type: ignore[attr-defined]
            for logger in self.loggers:
                logger.log_metrics({"a": 1.0}, 0)
            return super().training_step(batch, batch_idx)

    assert inside(Uses(), lambda s: s.training_step(s.move(BATCH)))[0] is not None


def test_hooks_of_the_batch_run() -> None:
    class Hooked(Classifier):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch[0] + 1, batch[1]

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.begun = True

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            assert self.begun
            return {"loss": super().training_step(batch, batch_idx), "mean": batch[0].mean()}

    _, output = inside(Hooked(), lambda s: s.training_step(s.move(BATCH)))
    assert torch.equal(output["mean"], (BATCH[0] + 1).mean())


def test_hooks_of_a_data_module_run() -> None:
    class Data(LightningDataModule):
        def setup(self, stage: str) -> None:
            raise AssertionError("it is set up already")

        def train_dataloader(self) -> Any:
            raise AssertionError("the batches are there already")

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            assert self.trainer is not None
            return {"x": batch[0]}

    data = Data()
    moved = inside(Classifier(), lambda s: s.move(BATCH), datamodule=data)
    assert set(moved) == {"x"}
    assert data.trainer is None


def test_a_step_may_change_its_batch() -> None:
    class Changes(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            batch[0].mul_(0)
            batch.pop()
            return self.net(batch[0]).mean()

    batch = [BATCH[0].clone(), BATCH[1]]
    record: list[Any] = []
    run_in_sandbox(Changes(), [batch], [], lambda s: record.extend(s.training_step(s.move(s.batches[0])) for _ in range(2)))
    assert torch.equal(record[0][0], record[1][0])
    assert len(batch) == 2
    assert torch.equal(batch[0], BATCH[0])


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.float32), ("bf16-true", torch.bfloat16), ("64-true", torch.float64)])
def test_the_precision_of_the_trainer(precision: str, dtype: torch.dtype) -> None:
    moved = inside(Classifier(), lambda s: s.move(BATCH)[0].dtype, settings={"precision": precision})
    assert moved is dtype
    loss, _ = inside(Classifier(), lambda s: s.training_step(s.move(BATCH)), settings={"precision": precision})
    assert torch.isfinite(loss)


def test_reset_goes_back_to_the_start() -> None:
    class Tuned(Classifier):
        def __init__(self) -> None:
            super().__init__(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
            self.net[2].eval()

    def use(sandbox: Sandbox) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        sandbox.remember()
        before = {k: v.clone() for k, v in sandbox.module.state_dict().items()}
        loss, _ = sandbox.training_step(sandbox.move(BATCH))
        assert loss is not None
        loss.backward()  # type: ignore[no-untyped-call]
        sandbox.optimizers[0].step()
        sandbox.module.train()
        assert sandbox.optimizers[0].state
        sandbox.reset()
        assert not sandbox.optimizers[0].state
        assert all(p.grad is None for p in sandbox.module.parameters())
        assert not sandbox.module.net[2].training  # type: ignore[index, union-attr]
        return before, dict(sandbox.module.state_dict())

    before, after = inside(Tuned(), use)
    assert all(torch.equal(before[k], after[k]) for k in before)


# Setting up


def test_what_configure_optimizers_may_read() -> None:
    class Reads(Classifier):
        def configure_optimizers(self) -> Any:
            self.trainer.fit_loop.setup_data()
            assert self.trainer.train_dataloader is not None
            assert len(self.trainer.train_dataloader.dataset) == 96
            assert self.trainer.num_training_batches == 7
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=int(self.trainer.estimated_stepping_batches))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "monitor": "val_loss"}}

    train, _ = loaders()
    settings = {"length": 7, "max_epochs": 3}
    schedulers = inside(Reads(), lambda s: s.trainer.lr_scheduler_configs, settings=settings, loader=train)
    assert schedulers[0].scheduler.total_steps == 21


def test_without_an_optimizer_there_is_none() -> None:
    class Bare(Classifier):
        def configure_optimizers(self) -> Any:
            return None

    assert inside(Bare(), lambda s: s.optimizers) == []


def test_callbacks_of_the_module_stay_out() -> None:
    class Writes(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            raise AssertionError("it would write files")

    class Brings(Classifier):
        def configure_callbacks(self) -> Any:
            return [Writes()]

    assert inside(Brings(), lambda s: True)


def test_errors_of_the_users_own_name_their_place() -> None:
    class Broken(Classifier):
        def configure_optimizers(self) -> Any:
            raise ValueError("no such rate")

    with pytest.raises(Unusable, match=r"cannot be set up for training \(ValueError: no such rate \(test_sandbox.py:\d+, in configure_op"):
        inside(Broken(), lambda s: None)


def test_told_without_a_place() -> None:
    assert told(ValueError("bare")) == "ValueError: bare"
    with pytest.raises(ValueError, match="batch_size") as caught:
        F.cross_entropy(torch.zeros(2, 3), torch.zeros(3).long())
    assert told(caught.value).endswith("in test_told_without_a_place)")


def test_what_use_raises_comes_out_and_an_interrupt_as_well() -> None:
    for error in (RuntimeError, KeyboardInterrupt):

        def use(sandbox: Sandbox, error: type[BaseException] = error) -> None:
            raise error("from inside")

        with pytest.raises(error, match="from inside"):
            inside(Classifier(), use)


def test_nothing_is_written(tmp_path: Any) -> None:
    def use(sandbox: Sandbox, record: Record) -> None:
        sandbox.training_step(sandbox.move(sandbox.batches[0]))

    sandboxed(Classifier(), loaders()[0], use)
    assert list(tmp_path.iterdir()) == []
