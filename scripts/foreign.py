"""Run the callbacks inside projects that other people wrote, on synthetic data, and say what became of it.

    python scripts/foreign.py                 all projects; their environments stand in .venvs, or $DIAGNOSE_VENVS, and are kept
    python scripts/foreign.py chemprop scvi   some of them

Each project gets an environment of its own with the torch of constraints.txt. In it a small training runs three times from one seed:
twice as the project would run it, and once with every callback. The table says whether the weights end in the same bits, what the doctor
found, what failed, and what `diagnose.check` says of the module. Not part of the continuous integration: it downloads the projects.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIGHT = ("torchmetrics", "scikit-learn", "matplotlib", "hydra-core", "rich", "jinja2", "openTSNE")
QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
Trained = tuple[Any, Any, Any]  # the module, its training loader and its validation loader (None where the project keeps them to itself)


def table(rows: int, seed: int) -> Any:
    """Rows with a class that two columns and a kind decide."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 4)), columns=list("abcd"))
    frame["kind"] = random.choice(["red", "green", "blue"], rows)
    frame["target"] = ((frame["a"] + frame["b"] + (frame["kind"] == "red")) > 0).astype(int)
    return frame


def series(rows: int = 120) -> Any:
    """Two noisy waves."""
    import numpy as np
    import pandas as pd

    frames: list[Any] = []
    for name in ("one", "two"):
        y = np.sin(np.arange(rows) / 6 + len(frames)) + np.random.default_rng(len(frames)).normal(scale=0.1, size=rows)
        frames.append(pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=rows), "t": range(rows), "y": y}))
    return pd.concat(frames, ignore_index=True)


def boring(callbacks: list[Any]) -> Trained:
    """Lightning's own, with a data module."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

    module, data = BoringModel(), BoringDataModule()
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, datamodule=data)
    return module, data.train_dataloader(), data.val_dataloader()


def boring_by_hand(callbacks: list[Any]) -> Trained:
    """The same under manual optimisation."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import ManualOptimBoringModel

    module = ManualOptimBoringModel()
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module)
    return module, module.train_dataloader(), module.val_dataloader()


def demo_transformer(callbacks: list[Any]) -> Trained:
    """Lightning's language model, on sums of random tokens."""
    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.transformer import LightningTransformer
    from torch.utils.data import DataLoader

    tokens = torch.randint(0, 50, (96, 13)).cumsum(1) % 50
    rows: Any = [(row[:-1], row[1:]) for row in tokens]
    data, val = DataLoader(rows[:80], batch_size=8), DataLoader(rows[80:], batch_size=8)
    module: Any = LightningTransformer(vocab_size=50)
    module.prepare_data = lambda: None  # it would download WikiText
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data, val)
    return module, data, val


def demo_lstm(callbacks: list[Any]) -> Trained:
    """Truncated back-propagation by hand."""
    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.lstm import LightningLSTM, SequenceSampler
    from torch.utils.data import DataLoader

    tokens = torch.randint(0, 50, (161, 13)).cumsum(1) % 50
    rows: Any = [(row[:-1], row[1:]) for row in tokens[:160]]
    data: Any = DataLoader(rows, batch_sampler=SequenceSampler(rows, batch_size=20))
    module: Any = LightningLSTM(vocab_size=50)
    module.prepare_data = lambda: None  # it would download WikiText
    Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data)
    return module, data, None


def gan(callbacks: list[Any]) -> Trained:
    """As in Lightning's examples: two optimizers by hand, each toggled."""
    import lightning
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader

    class Gan(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.generator = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2, inplace=True), nn.Linear(32, 2))
            self.discriminator = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2, inplace=True), nn.Linear(32, 1))

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizers: Any = self.optimizers()
            of_generator, of_discriminator = optimizers
            noise = torch.randn(len(batch), 8)
            ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
            self.toggle_optimizer(of_generator)
            loss = F.binary_cross_entropy_with_logits(self.discriminator(self.generator(noise)), ones)
            self.log("g_loss", loss)
            self.manual_backward(loss)
            of_generator.step()
            of_generator.zero_grad()
            self.untoggle_optimizer(of_generator)
            self.toggle_optimizer(of_discriminator)
            real = F.binary_cross_entropy_with_logits(self.discriminator(batch), ones)
            fake = F.binary_cross_entropy_with_logits(self.discriminator(self.generator(noise).detach()), zeros)
            self.manual_backward((real + fake) / 2)
            of_discriminator.step()
            of_discriminator.zero_grad()
            self.untoggle_optimizer(of_discriminator)

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(part.parameters(), lr=2e-4, betas=(0.5, 0.999)) for part in (self.generator, self.discriminator)], []

    circle = torch.rand(640, 1) * 6.28
    data: Any = DataLoader(torch.cat([circle.cos(), circle.sin()], 1), batch_size=16)  # type: ignore[arg-type]
    module = Gan()
    lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data)
    return module, data, None


def tabular(callbacks: list[Any], kind: str = "CategoryEmbeddingModelConfig") -> Trained:
    """A classifier of mixed columns."""
    import pytorch_tabular.models
    from pytorch_tabular import TabularModel
    from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

    model = TabularModel(
        data_config=DataConfig(target=["target"], continuous_cols=list("abcd"), categorical_cols=["kind"]),
        model_config=getattr(pytorch_tabular.models, kind)(task="classification"),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=16, max_epochs=3, accelerator="cpu", devices=1, checkpoints=None, progress_bar="none", load_best=False, seed=7
        ),
        verbose=False,
    )
    model.fit(train=table(240, 0), validation=table(60, 1), callbacks=callbacks or None)
    return model.model, model.datamodule.train_dataloader(), model.datamodule.val_dataloader()


def tabular_ft_transformer(callbacks: list[Any]) -> Trained:
    """The same by attention over columns."""
    return tabular(callbacks, "FTTransformerConfig")


def chemprop(callbacks: list[Any]) -> Trained:
    """Message passing over molecules."""
    import numpy as np
    from chemprop import data, models, nn
    from lightning.pytorch import Trainer

    smiles = ["C" * n + tail for n in range(1, 16) for tail in ("O", "N", "C(=O)O", "Cl", "c1ccccc1")]
    points = [data.MoleculeDatapoint.from_smi(s, np.array([len(s) / 10 + s.count("O")])) for s in smiles]
    sets = [data.MoleculeDataset(part) for part in (points[::2], points[1::2])]
    scaler = sets[0].normalize_targets()
    sets[1].normalize_targets(scaler)
    train, val = (data.build_dataloader(part, batch_size=8, num_workers=0, shuffle=part is sets[0]) for part in sets)
    output = nn.UnscaleTransform.from_standard_scaler(scaler)
    module = models.MPNN(nn.BondMessagePassing(d_h=32), nn.MeanAggregation(), nn.RegressionFFN(input_dim=32, output_transform=output))
    Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def neuralforecast(callbacks: list[Any]) -> Trained:
    """N-HiTS, whose Trainer the package makes itself."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import NHITS

    given = {"callbacks": callbacks} if callbacks else {}
    model = NHITS(h=6, input_size=24, max_steps=60, val_check_steps=20, accelerator="cpu", random_seed=7, **QUIET, **given)
    forecast = NeuralForecast(models=[model], freq="D")
    forecast.fit(series().drop(columns="t"), val_size=12)
    return forecast.models[0], None, None


def forecasting(callbacks: list[Any]) -> Trained:
    """The temporal fusion transformer."""
    from lightning.pytorch import Trainer
    from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
    from pytorch_forecasting.metrics import QuantileLoss

    frame = series()
    options: dict[str, Any] = {"time_idx": "t", "target": "y", "group_ids": ["unique_id"], "max_encoder_length": 20}
    options |= {"max_prediction_length": 5, "time_varying_unknown_reals": ["y"], "time_varying_known_reals": ["t"]}
    training = TimeSeriesDataSet(frame[frame["t"] < 100], **options)
    train = training.to_dataloader(train=True, batch_size=16, num_workers=0)
    val = TimeSeriesDataSet.from_dataset(training, frame, min_prediction_idx=100).to_dataloader(batch_size=16, num_workers=0)
    module = TemporalFusionTransformer.from_dataset(training, hidden_size=8, attention_head_size=1, loss=QuantileLoss(), learning_rate=0.01)
    Trainer(max_epochs=2, accelerator="cpu", gradient_clip_val=0.1, callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def scvi(callbacks: list[Any]) -> Trained:
    """A variational autoencoder of counts."""
    import scvi as package

    package.settings.seed = 7
    cells = package.data.synthetic_iid()
    package.model.SCVI.setup_anndata(cells, batch_key="batch", labels_key="labels")
    model = package.model.SCVI(cells, n_hidden=16, n_latent=5)
    model.train(max_epochs=3, accelerator="cpu", check_val_every_n_epoch=1, callbacks=callbacks, **{**QUIET, "enable_progress_bar": False})
    return model.module, None, None


DEMOS = ("lightning",)
PROJECTS: dict[str, tuple[Callable[[list[Any]], Trained], tuple[str, ...]]] = {
    "boring": (boring, DEMOS),
    "boring-by-hand": (boring_by_hand, DEMOS),
    "demo-transformer": (demo_transformer, (*DEMOS, "requests")),
    "demo-lstm": (demo_lstm, (*DEMOS, "requests")),
    "gan": (gan, DEMOS),
    "pytorch-tabular": (tabular, ("pytorch-tabular", "requests")),
    "pytorch-tabular-ft": (tabular_ft_transformer, ("pytorch-tabular", "requests")),
    "chemprop": (chemprop, ("chemprop",)),
    "neuralforecast": (neuralforecast, ("neuralforecast",)),
    "pytorch-forecasting": (forecasting, ("pytorch-forecasting", "lightning")),
    "scvi-tools": (scvi, ("scvi-tools",)),
}


def digest(module: Any) -> str:
    """Every parameter and buffer, to the last bit."""
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes() if hasattr(value, "detach") else repr(value).encode())
    return total.hexdigest()


def once(train: Callable[[list[Any]], Trained], callbacks: list[Any]) -> tuple[str, float, Trained]:
    """One training from the seed: a digest of the weights, its seconds, and what it gave."""
    import random

    import numpy as np
    import torch

    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    began = time.perf_counter()
    trained = train(callbacks)
    return digest(trained[0]), time.perf_counter() - began, trained


def inside(name: str) -> dict[str, Any]:
    """Train the project's example thrice, in its own environment; the row of the table."""
    from importlib.metadata import version

    import torch

    import diagnose
    from diagnose.callbacks import ActivationMonitor, ConfusionMatrix, Doctor, GradientMonitor, HiddenTSNE, LossMonitor, UpdateMonitor
    from diagnose.namespace import Callback

    class Start(Callback):
        """Keeps the first weights, so that `diagnose.check` sees the module as new."""

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            self.weights = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in pl_module.state_dict().items()}

    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("diagnose").addHandler(handler)
    train, packages = PROJECTS[name]
    row: dict[str, Any] = {"project": name, "version": version(packages[0]), "notes": [], "findings": [], "crashes": []}
    first, row["seconds"], _ = once(train, [])
    again, _, _ = once(train, [])
    doctor = Doctor()
    others = [GradientMonitor(), ActivationMonitor(), UpdateMonitor(), LossMonitor(), ConfusionMatrix(), HiddenTSNE()]
    start = Start()
    watched, row["watched"], (module, loader, val) = once(train, [start, doctor, *others])
    row["weights"] = "not repeatable" if first != again else "the same" if watched == first else "DIFFERENT"
    row["findings"] = sorted({f"{f.code} {f.rule}" for f in doctor.diagnosis.at_or_above("warning")})
    row["notes"] = [line for line in said if "does not work here" in line]
    row["crashes"] = [line for line in said if "failed" in line] + [o.rule for o in doctor.diagnosis.outcomes if o.status == "crashed"]
    row["batches"] = len(doctor.record.series("train/loss")) if "train/loss" in doctor.record else 0
    row["series"] = len(list(doctor.record.names()))
    if loader is not None:
        module.load_state_dict(start.weights)
        found = diagnose.check(module, loader, val)
        row["check"] = sorted({f"{f.code} {f.rule}" for f in found.at_or_above("warning")})
        row["crashes"] += [f"check: {o.rule}: {o.reason}" for o in found.outcomes if o.status == "crashed"]
        row["notes"] += sorted({f"check: {o.reason}" for o in found.outcomes if "probe raised" in o.reason})
    return row


def environment(packages: tuple[str, ...]) -> Path:
    """The interpreter of the environment for these packages; it is made where it does not stand."""
    venv = Path(os.environ.get("DIAGNOSE_VENVS", ROOT / ".venvs")) / packages[0]
    python, done = venv / "bin/python", venv / "done"
    if not done.exists():
        print(f"making {venv}", file=sys.stderr)
        torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", torch, *packages, *LIGHT], check=True)
        done.touch()
    return python


def outside(name: str) -> dict[str, Any]:
    """Run one project in its environment and in an empty folder, and read its row."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [str(environment(PROJECTS[name][1])), str(Path(__file__).resolve()), "--inside", name]
        try:
            done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            return {"project": name, "failed": "no end after 15 minutes"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"project": name, "failed": (done.stderr.strip().splitlines() or ["no output"])[-1], "log": done.stderr}
    row: dict[str, Any] = json.loads(lines[-1])
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if "failed" in row:
        return [row["project"], "", "did not run", "", "", row["failed"], ""]
    found = ", ".join(row["findings"]) or "nothing"
    checked = ", ".join(row["check"]) or "nothing" if "check" in row else "loaders not at hand"
    return [row["project"], row["version"], row["weights"], found, checked, "; ".join(row["crashes"]) or "nothing", "; ".join(row["notes"])]


def main(names: list[str]) -> int:
    """Run the named projects, or all of them; the exit status is 1 where anything failed."""
    unknown = [name for name in names if name not in PROJECTS]
    if unknown:
        print(f"no project {', '.join(unknown)}; there are {', '.join(PROJECTS)}", file=sys.stderr)
        return 2
    rows = []
    print("| project | version | weights | the doctor found | check found | failed | notes |\n|---|---|---|---|---|---|---|")
    for name in names or PROJECTS:
        rows.append(outside(name))
        print("| " + " | ".join(cell.replace("|", "/") for cell in cells(rows[-1])) + " |", flush=True)
        if "log" in rows[-1]:
            print(rows[-1]["log"], file=sys.stderr)
    return int(any("failed" in row or row["crashes"] or row["weights"] == "DIFFERENT" for row in rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        warnings.simplefilter("ignore")
        try:
            print(json.dumps(inside(sys.argv[2])))
        except Exception:
            traceback.print_exc()
            sys.exit(1)
    else:
        sys.exit(main(sys.argv[1:]))
