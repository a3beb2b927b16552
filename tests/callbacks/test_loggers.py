"""What the loggers of a Trainer get: a few headlines and pictures, whatever the logger can do, and never an exception."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import ActivationMonitor, ConfusionMatrix, Doctor, GradientMonitor, HiddenTSNE, LossMonitor, UpdateMonitor


class Deep(LightningModule):
    """A classifier of many layers, one of them with an odd name."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(4, 8)]
        for _ in range(30):
            layers += [nn.ReLU(), nn.Linear(8, 8)]
        self.net = nn.Sequential(*layers)
        self.last = nn.ModuleDict({"odd name: 50 %": nn.Linear(8, 3)})

    def step(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.last["odd name: 50 %"](self.net(batch[0])), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch)

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def data() -> DataLoader[Any]:
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()), batch_size=8)


def fit(loggers: Any, *callbacks: Callback, **settings: Any) -> Trainer:
    quiet: dict[str, Any] = {
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    trainer = Trainer(**{"max_epochs": 2, "accelerator": "cpu", **quiet, **settings}, logger=loggers, callbacks=[*callbacks])
    trainer.fit(Deep(), data(), data())
    return trainer


class Strict(Logger):
    """A logger as MLflow has it: no slash, no odd sign in a name, numbers only."""

    name, version, save_dir = "strict", 0, None

    def __init__(self, refused: str = "/") -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.refused = refused

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None: ...

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        for name, value in metrics.items():
            if self.refused in name or type(value) is not float:
                raise ValueError(f"bad name or value: {name} {value!r}")
        self.rows.append((step, dict(metrics)))

    @property
    def experiment(self) -> Any:
        return None


class Pictures(Strict):
    """A logger that takes pictures as Weights & Biases does."""

    def __init__(self) -> None:
        super().__init__(refused="!")
        self.pictures: dict[str, Any] = {}

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.pictures[key] = images[0]


def test_a_record_of_sixty_layers_is_twenty_scalars_of_constant_names(tmp_path: Path) -> None:
    logger, doctor = Strict(refused="!"), Doctor(probes=False, strict=True)
    fit(logger, doctor)
    assert len(doctor.record.labels["grad_norm/layers"]) == 32
    rows = [row for _, row in logger.rows]
    assert max(map(len, rows)) <= 20
    assert all(name.startswith("diagnose/") for row in rows for name in row)
    assert len({name for row in rows for name in row}) <= 24  # the same layers in every record
    norms = doctor.record.series("grad_norm/total")
    assert [row["diagnose/grad_norm/total"] for row in rows if "diagnose/grad_norm/total" in row] == norms.value.tolist()
    assert doctor.record.series("grad_norm/layers").value[0].max() in rows[0].values()


def test_no_scalars_where_none_are_wanted() -> None:
    logger = Strict()
    fit(logger, Doctor(probes=False, logged=0))
    fit(logger, few := GradientMonitor(logged=1))
    assert {name for _, row in logger.rows for name in row} == {"diagnose_grad_norm_total"}
    assert len(few.record.series("grad_norm/layers")) == 10
    with pytest.raises(ValueError, match="logged must be a number of scalars per record, 0 for none, got -1"):
        GradientMonitor(logged=-1)


EVERY = (Doctor, GradientMonitor, ActivationMonitor, UpdateMonitor, LossMonitor, ConfusionMatrix, HiddenTSNE)


@pytest.mark.parametrize("kind", ["none", "csv", "tensorboard", "strict", "two", "fast_dev_run"])
def test_every_callback_works_with_every_logger(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loggers: dict[str, Any] = {
        "none": False,
        "csv": CSVLogger(tmp_path, name="", version=""),
        "tensorboard": TensorBoardLogger(tmp_path, name="", version=""),
        "strict": Strict(),
        "two": [CSVLogger(tmp_path, name="", version=""), Strict()],
        "fast_dev_run": True,
    }
    with caplog.at_level(logging.WARNING, "diagnose"):
        trainer = fit(loggers[kind], *(make(strict=True) for make in EVERY), fast_dev_run=kind == "fast_dev_run", default_root_dir=tmp_path)
        trainer.test(Deep(), data(), verbose=False)
    assert "gets no more" not in caplog.text
    assert not any("diagnose" in name for name in trainer.progress_bar_metrics)
    assert not any("diagnose" in name for name in trainer.logged_metrics)
    if kind in ("csv", "two"):
        with (tmp_path / "metrics.csv").open() as file:
            assert any(row.get("diagnose/grad_norm/total") for row in csv.DictReader(file))
    if kind == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path))
        events.Reload()
        assert len(events.Scalars("diagnose/grad_norm/total")) >= 10
        assert {"diagnose/val/confusion_matrix", "diagnose/test/confusion_matrix"} <= set(events.Tags()["images"])
        assert any(tag.startswith("diagnose/fit/map_") for tag in events.Tags()["images"])


def test_pictures_go_to_loggers_that_take_them() -> None:
    logger = Pictures()
    fit(logger, ConfusionMatrix(strict=True))
    picture = logger.pictures["diagnose/val/confusion_matrix"]
    assert picture.shape[2] == 3
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture.min() < 100


def test_a_logger_that_raises_is_left_out_and_said_so_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Pictures):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            raise ConnectionError("the server is gone")

        def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
            raise ConnectionError("the server is gone")

    working = Pictures()
    with caplog.at_level(logging.WARNING, "diagnose"):
        fit([Broken(), working], GradientMonitor(), ConfusionMatrix())
    said = [r.message for r in caplog.records]
    assert said.count("Broken gets no more of what is measured: ConnectionError: the server is gone") == 1
    assert said.count("Broken gets no more pictures: ConnectionError: the server is gone") == 1
    assert len(working.rows) == 10
    assert working.pictures
