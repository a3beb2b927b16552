"""What the Trainer and its other callbacks do."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.tuner.tuning import Tuner

from tests.callbacks.identity import Run, digest
from tests.callbacks.trainings import Jobs, Module, fit, noisy, table

job = Jobs()


@job("average of weights (EMA)")
def _(run: Run) -> None:
    fit(run, Module(noisy()), EMAWeightAveraging(decay=0.9))


@job("stochastic weight averaging (SWA)")
def _(run: Run) -> None:
    fit(run, Module(noisy()), StochasticWeightAveraging(0.01, swa_epoch_start=1), max_epochs=3)


@job("LR finder, as callback and by Tuner")
def _(run: Run) -> None:
    fit(run, Module(noisy()), LearningRateFinder(num_training_steps=6))
    module, trainer, loader = Module(noisy()), run.trainer(), run.loader(table(), batch_size=8)
    found = Tuner(trainer).lr_find(module, loader, num_training=6)
    assert found is not None
    run.parts["curve"] = digest(found.results)
    trainer.fit(module, loader)
    run.note(trainer, module)


@job("overfit_batches")
def _(run: Run) -> None:
    fit(run, Module(noisy()), overfit_batches=2)


@job("schedulers, early stopping and checkpoints that monitor")
def _(run: Run) -> None:
    class Scheduled(Module):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val"}}

    keep = ModelCheckpoint(run.folder / "kept", monitor="val", save_top_k=2, every_n_train_steps=3, filename="{step}-{val:.9f}")
    own = (EarlyStopping("val", patience=1, min_delta=1e-2), keep, LearningRateMonitor())
    fit(run, Scheduled(noisy(), lr=0.5), *own, max_epochs=6, val_check_interval=2, enable_checkpointing=True)
    run.parts["files"] = digest(sorted(p.name for p in (run.folder / "kept").iterdir()))


@job("resumed from a checkpoint in mid-epoch")
def _(run: Run) -> None:
    data = table(40)
    run.fit(Module(noisy(), torch.optim.Adam), run.loader(data, batch_size=8, shuffle=True), max_steps=3)
    path = run.folder / "noted.ckpt"
    trainer, module = run.trainer(), Module(noisy(), torch.optim.Adam)
    trainer.fit(module, run.loader(data, batch_size=8, shuffle=True), ckpt_path=path)
    run.note(trainer, module)


@job("trainer.validate, test and predict alone")
def _(run: Run) -> None:
    module, trainer, loader = Module(noisy()), run.trainer(), run.loader(table(), batch_size=8)
    for call in (trainer.validate, trainer.test):
        call(module, loader, verbose=False)
        run.note(trainer, module)
    run.parts["predictions"] = digest(trainer.predict(module, run.loader(table().tensors[0], batch_size=8)))
    run.note(trainer, module)


@job("fit, test, and fit again")
def _(run: Run) -> None:
    module, trainer = Module(noisy(), torch.optim.Adam), run.trainer(max_epochs=1)
    loader, val = run.loader(table(), batch_size=8, shuffle=True), run.loader(table(16), batch_size=8)
    trainer.fit(module, loader, val)
    trainer.test(module, val, verbose=False)
    run.note(trainer, module)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader, val)
    run.note(trainer, module)
