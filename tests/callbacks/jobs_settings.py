"""Settings of the Trainer, and Lightning's own callbacks together."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    DeviceStatsMonitor,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.tuner.tuning import Tuner
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from tests.callbacks.identity import Run, digest
from tests.callbacks.trainings import CLASSES, INPUTS, Jobs, Module, fit, noisy, table

job = Jobs()

SETTINGS: dict[str, dict[str, Any]] = {
    "fast_dev_run": {"fast_dev_run": True},
    "barebones": {"barebones": True, "logger": None, "log_every_n_steps": None, "enable_progress_bar": None, "enable_model_summary": None},
    "detect_anomaly": {"detect_anomaly": True},
    "validation in parts of an epoch, limited": {"val_check_interval": 0.5, "limit_train_batches": 0.8, "limit_val_batches": 1},
    "validation by batches over epochs": {"check_val_every_n_epoch": None, "val_check_interval": 3, "num_sanity_val_steps": -1},
    "a time limit, a step limit, clipping by value": {
        "max_time": "00:01:00:00",
        "max_steps": 5,
        "gradient_clip_val": 0.1,
        "gradient_clip_algorithm": "value",
    },
    "no validation, profiled, deterministic": {"limit_val_batches": 0, "profiler": SimpleProfiler(), "deterministic": "warn"},
    "double precision": {"precision": "64-true"},
    "bf16-true": {"precision": "bf16-true"},
}


def setting(name: str, settings: dict[str, Any]) -> None:
    @job(name)
    def _(run: Run) -> None:
        fit(run, Module(noisy()), **settings)


for name, settings in SETTINGS.items():
    setting(name, settings)


class Scored(Module):
    """As many write it: hyper-parameters, a collection of metrics, and hooks at the ends of epochs that read the Trainer."""

    def __init__(self, width: int = 8, lr: float = 0.05) -> None:
        super().__init__(noisy(), lr=lr)
        self.save_hyperparameters()
        self.backbone = nn.Linear(INPUTS, INPUTS)
        metrics = MetricCollection({"acc": MulticlassAccuracy(CLASSES), "f1": MulticlassF1Score(CLASSES)})
        self.train_metrics, self.val_metrics = metrics.clone("train/"), metrics.clone("val/")
        self.mean, self.outputs = MeanMetric(), list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.backbone(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.train_metrics(self(batch[0]), batch[1])
        metrics: Any = self.train_metrics
        self.log_dict(metrics, on_step=True, on_epoch=True)
        self.outputs.append(loss.detach())
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.val_metrics.update(self(batch[0]), batch[1])
        self.mean.update(self.loss(batch))
        self.log("val", self.mean)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.val_metrics.compute())
        self.val_metrics.reset()

    def on_train_epoch_end(self) -> None:
        self.log("mean", torch.stack(self.outputs).mean())
        self.log("rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.outputs.clear()
        trainer: Any = self.trainer
        stopper = next((c for c in trainer.callbacks if isinstance(c, EarlyStopping)), None)
        if stopper is not None and trainer.is_last_batch:
            self.log("waited", float(stopper.wait_count))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.hparams["lr"])
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


@job("metrics in collections, and many callbacks at once")
def _(run: Run) -> None:
    keep = ModelCheckpoint(run.folder / "kept", monitor="val/acc", mode="max", save_last=True)
    own = (
        keep,
        EarlyStopping("val", patience=5),
        LearningRateMonitor(),
        Timer(),
        GradientAccumulationScheduler({1: 2}),
    )
    fit(run, Scored(), *own, max_epochs=3, enable_checkpointing=True)


@job("continued from ckpt_path='last', tested by 'best'")
def _(run: Run) -> None:
    for epochs in (1, 2):
        keep = ModelCheckpoint(run.folder / "kept", monitor="val", save_last=True)
        trainer = fit(run, Scored(), keep, max_epochs=epochs, enable_checkpointing=True)
        if epochs == 1:
            continue
        again, module = run.trainer(ModelCheckpoint(run.folder / "kept", save_last=True), max_epochs=3, enable_checkpointing=True), Scored()
        again.fit(module, run.loader(table(), batch_size=8), ckpt_path="last")
        run.note(again, module)
        run.parts["best"] = digest(trainer.checkpoint_callback.best_model_score)


@job("a backbone that thaws, averages, pruning")
def _(run: Run) -> None:
    fit(run, Scored(), BackboneFinetuning(1, lambda epoch: 1.5, train_bn=False), max_epochs=3)
    fit(run, Scored(), ModelPruning("l1_unstructured", amount=0.2, use_lottery_ticket_hypothesis=False), max_epochs=2)
    fit(run, Module(noisy()), WeightAveraging(), DeviceStatsMonitor(cpu_stats=False), max_epochs=2)
    fit(run, Module(noisy()), StochasticWeightAveraging(0.02, 1), GradientAccumulationScheduler({0: 2}), max_epochs=4)


class Sized(Module):
    """Makes its loaders from a batch size, which a finder may change."""

    def __init__(self, run: Run) -> None:
        super().__init__(noisy())
        self.batch_size, self.data, self.__dict__["run"] = 2, table(), run

    def train_dataloader(self) -> Any:
        return self.__dict__["run"].loader(self.data, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return self.__dict__["run"].loader(table(8), batch_size=self.batch_size)


@job("batch size finder, as callback and by Tuner")
def _(run: Run) -> None:
    first = Sized(run)
    trainer = run.trainer(BatchSizeFinder(max_trials=2, steps_per_trial=1), max_epochs=1)
    trainer.fit(first)
    run.note(trainer, first)
    second, trainer = Sized(run), run.trainer(max_epochs=1)
    Tuner(trainer).scale_batch_size(second, mode="binsearch", max_trials=2, steps_per_trial=1)
    trainer.fit(second)
    run.note(trainer, second)
    run.parts["sizes"] = digest((first.batch_size, second.batch_size))
