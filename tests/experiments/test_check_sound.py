"""`check` is silent on sound modules and loaders of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset

from tests.experiments.checked import Adversarial, Data, Dict, rows, silent
from tests.experiments.odd import Classifier, blobs, loaders


def test_dicts_with_names() -> None:
    silent(Dict(), DataLoader(rows(), 16, shuffle=True), DataLoader(rows()[100:], 16))  # type: ignore[arg-type]


class Two(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        (x, y), (u, v) = batch["a"], batch["b"]
        return F.cross_entropy(self(x), y) + 0.5 * F.cross_entropy(self(u), v)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> Any:  # type: ignore[override]
        assert dataloader_idx == 0
        return F.cross_entropy(self(batch[0]), batch[1])


def test_several_loaders() -> None:
    train, val = loaders()
    silent(Two(), {"a": train, "b": val}, [val, val])


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = blobs(200)
        yield from zip(x, y, strict=True)


def test_a_stream() -> None:
    silent(Classifier(), DataLoader(Stream(), 16))


class Graphs(Classifier):
    """Nodes, edges and graphs have different lengths."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, edges, owner, y = batch
        x = x + torch.zeros_like(x).index_add(0, edges[1], x[edges[0]]) / 4
        pooled = torch.zeros(len(y), 8).index_add(0, owner, x) / 10
        return F.cross_entropy(self(pooled), y)


def test_graphs() -> None:
    graphs = []
    for _ in range(16):
        y = torch.randint(3, (8,))
        owner = torch.randint(8, (40,)).sort().values
        graphs.append((torch.randn(40, 8) + 2 * F.one_hot(y[owner], 8), torch.randint(40, (2, 90)), owner, y))
    silent(Graphs(), DataLoader(graphs, batch_size=None, shuffle=True))  # type: ignore[arg-type]


class Reads(Classifier):
    """Asks the Trainer wherever it can."""

    def on_train_start(self) -> None:
        self.trainer.strategy.barrier()
        self.steps = len(self.trainer.train_dataloader)  # type: ignore[arg-type]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.begun = self.trainer.current_epoch == 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        assert self.begun
        assert self.steps == self.trainer.num_training_batches
        self.logger.experiment.add_scalar("x", 1, self.global_step)  # type: ignore[union-attr]
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters())
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=int(self.trainer.estimated_stepping_batches))
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class Configured(LightningModule):
    """Has no weights before `configure_model`."""

    def __init__(self) -> None:
        super().__init__()
        self.net: nn.Module | None = None

    def configure_model(self) -> None:
        if self.net is None:
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def training_step(self, batch: Any) -> Any:  # without batch_idx
        assert self.net is not None
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters())


class Lazy(Classifier):
    def __init__(self) -> None:
        super().__init__(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(inplace=True), nn.LazyLinear(3))


class Saved(Classifier):
    def __init__(self, rate: float = 1e-3, act: Any = None, change: Any = abs) -> None:
        super().__init__()
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), self.hparams["rate"])


class Recomputed(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net[2](checkpoint(self.net[:2], x, use_reentrant=False))
        return y


class Frozen(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.2)).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            z = self.backbone(x)
        y: Tensor = self.net(z)
        return y


class Metric(Classifier):
    def __init__(self) -> None:
        from torchmetrics.classification import MulticlassAccuracy

        super().__init__()
        self.accuracy = MulticlassAccuracy(3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        scores = self(batch[0])
        self.log("accuracy", self.accuracy(scores, batch[1]), on_epoch=True)
        return (1 - scores.softmax(1)[torch.arange(len(scores)), batch[1]]).square().mean()  # no loss function of torch


class Float64(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.double()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self(batch[0].double()), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)


class Teacher(Classifier):
    """A second network that is used but not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(8, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        with torch.no_grad():
            soft = self.teacher(batch[0]).softmax(1)
        scores = self(batch[0])
        return F.cross_entropy(scores, batch[1]) + F.kl_div(scores.log_softmax(1), soft, reduction="batchmean")

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters())


class Grows(Classifier):
    """Keeps what it has seen, in buffers and lists."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(0))
        self.outputs: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen = torch.cat([self.seen, batch[0][:, 0]])
        self.outputs.append(self(batch[0]))
        return super().training_step(batch, batch_idx)


SOUND = [Reads, Configured, Lazy, Saved, Recomputed, Frozen, Adversarial, Metric, Float64, Teacher, Grows]


@pytest.mark.parametrize("kind", SOUND)
def test_sound_modules(kind: type[LightningModule]) -> None:
    silent(kind(), *loaders())


def test_a_default_dtype_of_float64() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        x, y = blobs()
        silent(Classifier(), *loaders(x.double(), y))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true", "16-true"])
def test_the_precision_of_the_trainer(precision: Any) -> None:
    trainer = Trainer(precision=precision, max_steps=50, logger=False, enable_checkpointing=False, accelerator="cpu")
    silent(Classifier(), *loaders(), trainer=trainer)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_script_modules() -> None:
    module = Classifier()
    module.net = torch.jit.script(module.net)  # type: ignore[assignment]
    silent(module, *loaders())


@pytest.mark.slow
def test_compiled_modules() -> None:
    module = Classifier()
    module.net = torch.compile(module.net, backend="eager")  # type: ignore[assignment]
    silent(module, *loaders())
    silent(torch.compile(Classifier(), backend="eager"), *loaders())


def test_data_modules() -> None:
    data = Data()
    assert silent(Dict(), datamodule=data).facts["task"]["kind"] == "multiclass"
    silent(Dict(), data)  # as Trainer.fit takes it
    assert not hasattr(data, "data")
    assert data.trainer is None


def test_the_loaders_of_the_module_itself() -> None:
    class Own(Classifier):
        def train_dataloader(self) -> Any:
            return loaders()[0]

    silent(Own())
