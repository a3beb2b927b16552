"""Trainings in two processes with every callback on; each process leaves what it saw as JSON. Run by test_distributed.py."""

from __future__ import annotations

import json
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import (
    ActivationMonitor,
    ConfusionMatrix,
    Doctor,
    GradientClipping,
    GradientMonitor,
    HiddenTSNE,
    LossMonitor,
    UpdateMonitor,
)
from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.values import Finding, Severity


class Net(lightning.LightningModule):
    """A classifier whose first layer makes one NaN in the second process, where it is told to."""

    def __init__(self, poisoned: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.poisoned = nn.Linear(4, 8), nn.Linear(8, 3), poisoned

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        h = torch.relu(self.first(batch[0]))
        if self.global_rank == 1 and self.global_step == self.poisoned:
            h = torch.log(h - 1e6)
        loss = nn.functional.cross_entropy(self.last(h), batch[1])
        self.log("train/own", loss, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self.last(torch.relu(self.first(batch[0])))
        self.log("val/own", nn.functional.cross_entropy(logits, batch[1]), sync_dist=True)

    test_step = validation_step

    def on_train_epoch_end(self) -> None:
        self.trainer.strategy.barrier()  # a collective of the user's own: ours must not come between

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Planted(Rule):
    """An error that one process alone can see."""

    code = "X901"
    name = "planted"
    severity = Severity.ERROR
    needs = ()

    def judge(self, record: Record) -> Iterator[Finding]:
        if "planted" in record:
            yield self.finding("it was planted", where="", fix="")


class Count(lightning.Callback):
    """Counts what the callbacks send: calls of torch.distributed that come from them, with the bytes of one process."""

    def __init__(self, name: str, watched: dict[str, Any]) -> None:
        self.name, self.watched, self.sent = name, watched, []  # type: ignore[var-annotated]

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        for name in ("all_reduce", "all_gather", "all_gather_object", "broadcast", "broadcast_object_list", "barrier"):
            setattr(torch.distributed, name, self.counted(name, getattr(torch.distributed, name)))

    def counted(self, name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            frames = [f.filename for f in traceback.extract_stack()]
            ours = any(Path(f).name in ("ranks.py", "confusion_matrix.py") for f in frames)
            if ours and not any(f.endswith("distributed_c10d.py") for f in frames):  # gathering objects calls others of these
                size = sum(a.numel() * a.element_size() if isinstance(a, Tensor) else len(pickle.dumps(a)) for a in arguments[-1:])
                self.sent.append([name, size])
            return function(*arguments, **options)

        return call

    def teardown(self, trainer: Any, pl_module: Any, stage: Any) -> None:
        stage = "fit" if stage == "fit" else "test"
        watched = {k: v for k, v in self.watched.items() if k != "record"}
        record: Record | None = self.watched["record"].record if "record" in self.watched else None
        seen: dict[str, Any] = {"steps": trainer.global_step, "stopped": trainer.should_stop, "sent": self.sent}
        seen["off"] = {name: callback.off for name, callback in watched.items() if hasattr(callback, "off")}
        if "clipping" in watched:
            seen["clipped"] = watched["clipping"].describe()
        seen["weights"] = [p.detach().tolist() for p in pl_module.parameters() if not isinstance(p, DTensor)]
        seen["counts"] = {k: v.tolist() for k, v in watched["matrix"].matrices.items()} if "matrix" in watched else {}
        x, y = loader(21, 4).dataset.tensors  # type: ignore[attr-defined]
        with torch.no_grad():
            seen["loss"] = nn.functional.cross_entropy(pl_module.last(torch.relu(pl_module.first(x))), y).item()
        if record is not None:
            seen |= {"facts": {k: record.facts.get(k) for k in ("nonfinite", "run")}, "missing": record.missing}
            seen["val"] = {n: record.series(n).value.tolist() for n in ("val/loss", "val/accuracy") if n in record}
        Path(f"{self.name}-{stage}-{trainer.global_rank}.json").write_text(json.dumps(seen, default=str))


def loader(rows: int, batch: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()), batch_size=batch)


def run(name: str, module: Net, watched: dict[str, Any], *extra: Any, test: bool = False, **settings: Any) -> None:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork", "max_epochs": 2, **quiet, **settings}
    trainer = lightning.Trainer(**settings, callbacks=[*watched.values(), *extra, Count(name, watched)])
    trainer.fit(module, loader(80, 4), loader(21, 4))
    if test:
        trainer.test(module, loader(21, 4), verbose=False)


class OnSecond(lightning.Callback):
    """Does something in the second process when its training begins."""

    def __init__(self, action: Any) -> None:
        self.action = action

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.global_rank == 1:
            self.action()


def broken(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("made to fail in one process")


def everything() -> None:
    monitors = [GradientMonitor(), ActivationMonitor(), UpdateMonitor(), LossMonitor()]
    watched: dict[str, Any] = {
        "record": Doctor(record="record"),
        "matrix": ConfusionMatrix(dirpath="matrix"),
        "map": HiddenTSNE(dirpath="map"),
        "clipping": GradientClipping(percentile=50),
    }
    run("everything", Net(), watched | {str(i): m for i, m in enumerate(monitors)}, test=True, accumulate_grad_batches=2)
    assert watched["record"].record.facts["run"]["finished"], "the caller's own instance must find what the processes recorded"


def stop() -> None:
    doctor = Doctor(rules=[Planted()], on_error="stop", record="stopped")
    run("stop", Net(), {"record": doctor}, OnSecond(lambda: doctor.notes.record.add("planted", 1)), max_epochs=50)


def nan() -> None:
    run("nan", Net(poisoned=12), {"record": Doctor(record="nan")}, max_epochs=8)


def crash() -> None:
    doctor, matrix, tsne = Doctor(record="crash"), ConfusionMatrix(), HiddenTSNE()

    def spoil() -> None:
        matrix.take = broken  # type: ignore[method-assign]
        for instrument in doctor.instruments:
            if type(instrument).__name__ in ("Validation", "Metrics"):
                doctor._switch_off(instrument, "made to fail in one process")

    run("crash", Net(), {"record": doctor, "matrix": matrix, "map": tsne}, OnSecond(spoil), num_sanity_val_steps=0)


def cluster() -> None:
    """One of two processes that a cluster has started."""
    watched: dict[str, Any] = {"record": Doctor(record="cluster", on_error="stop"), "matrix": ConfusionMatrix()}
    run("cluster", Net(), watched, strategy="ddp", max_epochs=1)


class Sharded(Net):
    """The same cut into shards by FSDP2."""

    def configure_model(self) -> None:
        if self.device_mesh is not None and not isinstance(self.first.weight, DTensor):
            for layer in (self.first, self.last):
                fully_shard(layer, mesh=self.device_mesh["data_parallel"])


def sharded(replicas: int) -> None:
    """Two processes that get the same batches (1: tensor parallelism) or each its own (2)."""
    strategy = ModelParallelStrategy(data_parallel_size=replicas, tensor_parallel_size=2 // replicas)
    watched: dict[str, Any] = {"record": Doctor(record=f"sharded{replicas}", strict=True), "matrix": ConfusionMatrix(strict=True)}
    run(f"sharded{replicas}", Sharded(), watched, UpdateMonitor(strict=True), strategy=strategy)


def sharded1() -> None:
    sharded(1)


def sharded2() -> None:
    sharded(2)


if __name__ == "__main__":
    for scenario in sys.argv[1:]:
        globals()[scenario]()
        print(scenario, "ended", flush=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # else gloo's threads may take the process down when Python ends
