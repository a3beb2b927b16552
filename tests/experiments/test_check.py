"""`check` on what users really have: it raises for nothing, leaves everything as it was, and is silent where nothing is wrong."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from diagnose.experiments.check import PROBES, check, sources
from diagnose.record import Record
from diagnose.rules import build
from diagnose.values import Diagnosis, Severity, Status
from tests.experiments.odd import Classifier, Regressor, blobs, loaders


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
    diagnosis = check(module, train, val, record=record, **options)
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


# What stays as it was


def test_weights_gradients_modes_and_random_states() -> None:
    module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    module.net[3].eval()
    F.cross_entropy(module(blobs()[0]), blobs()[1]).backward()  # type: ignore[no-untyped-call]
    module.net[1].reset_running_stats()  # type: ignore[operator]
    train = DataLoader(Remembers(), 16, shuffle=True, generator=torch.Generator().manual_seed(4))
    diagnosis, record = examined(module, train)
    assert {o.code for o in diagnosis.outcomes} == {rule.code for rule in build()}
    assert [f.rule for f in diagnosis.at_or_above("error")] == ["wrong-mode"]
    assert record.facts["probe.overfit"]["progress"] > 0.8


def test_a_module_with_a_trainer_keeps_it() -> None:
    module = Classifier()
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    trainer.fit(module, *loaders())
    assert module.trainer is trainer
    silent(module, *loaders(), trainer=trainer)
    assert module.trainer is trainer


def test_the_same_training_follows() -> None:
    def trained(look: bool) -> list[Tensor]:
        torch.manual_seed(3)
        module = Classifier(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        train, val = loaders()
        if look:
            check(module, train, val)
        trainer = Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
        trainer.fit(module, train, val)
        return [*module.parameters(), *module.buffers()]

    assert all(torch.equal(a, b) for a, b in zip(trained(look=False), trained(look=True), strict=True))


def test_nothing_is_printed_or_written(capfd: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    class Loud(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            warnings.warn("of the module", stacklevel=1)
            return super().training_step(batch, batch_idx)

    silent(Loud(), *loaders())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_twice_gives_the_same() -> None:
    module, (train, val) = Classifier(), loaders()
    assert check(module, train, val).to_dict() == check(module, train, val).to_dict()


# What is sound


class Dict(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": F.cross_entropy(self(batch["x"]), batch["y"]), "preds": None}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)


def rows(n: int = 128) -> list[dict[str, Any]]:
    x, y = blobs(n)
    return [{"x": x[i], "y": y[i], "name": f"row {i}"} for i in range(n)]


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


class Data(LightningDataModule):
    def setup(self, stage: str) -> None:
        self.data = TensorDataset(*blobs())

    def train_dataloader(self) -> Any:
        return DataLoader(self.data, 16 // self.trainer.world_size, shuffle=True)  # type: ignore[union-attr]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return {"x": batch[0], "y": batch[1]}


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


# What cannot be probed


def reasons(module: Any, train: Any = None, val: Any = None, **options: Any) -> dict[str, str]:
    """Why nothing could be found out."""
    diagnosis, record = examined(module, train, val, rules=build(["M", "D110"]), **options)
    assert diagnosis.findings == ()
    return record.missing


class Generates(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = (i for i in range(3))


class NoOptimizers(LightningModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return batch[0].mean()


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
        (BadOptimizers, "the module cannot be set up for training (ValueError: no such rate (test_check.py:"),
        (Raises, "KeyError: 'my own fault' (test_check.py:"),
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
    assert "KeyError: 'afterwards' (test_check.py:" in record.facts["probe.step"]["raised"]
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


# What is wrong


def test_a_wrong_module_is_found_whatever_the_batch() -> None:
    class Double(Dict):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(1)

    diagnosis, _ = examined(Double(), DataLoader(rows(), 16, shuffle=True))  # type: ignore[arg-type]
    (finding,) = diagnosis.at_or_above("warning")
    assert (finding.rule, finding.severity) == ("activation-loss-mismatch", Severity.ERROR)
    assert finding.where.startswith("test_check.py:")


def test_manual_optimisation_is_judged_as_well() -> None:
    class Lost(Adversarial):
        def configure_optimizers(self) -> Any:
            optimizers, schedulers = super().configure_optimizers()
            optimizers[1] = torch.optim.Adam(self.judge[:1].parameters())
            return optimizers, schedulers

    diagnosis, _ = examined(Lost(), *loaders())
    assert [f.rule for f in diagnosis.at_or_above("warning")] == ["missing-from-optimizer"]


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_regression_against_a_row() -> None:
    class Row(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self(batch[0]), batch[1])

    x, _ = blobs()
    diagnosis, _ = examined(Row(), *loaders(x, x[:, 0]))
    assert [f.rule for f in diagnosis.at_or_above("warning")] == ["loss-broadcast"]


# Where it stands


def test_sources_are_the_users_own_hooks() -> None:
    places = sources(Classifier())
    assert set(places) == {"training_step", "validation_step", "forward", "configure_optimizers", "__init__"}
    assert all(place.startswith("odd.py:") for place in places.values())
    assert set(sources(NoOptimizers())) == {"training_step"}
