"""Small trainings of packages for molecules, knowledge, recommendations, maps of the earth and anomalies."""

from __future__ import annotations

from typing import Any

from scripts.foreign_demos import QUIET, Trained


def mlcolvar(callbacks: list[Any]) -> Trained:
    """Collective variables of molecules: states that are told apart by where a network puts them."""
    import torch
    from lightning import Trainer
    from mlcolvar.cvs import DeepTDA
    from mlcolvar.data import DictDataset, DictModule

    states = torch.arange(240) % 2
    data = DictModule(DictDataset({"data": torch.randn(240, 6) + 2 * states[:, None], "labels": states.float()}), batch_size=32)
    module = DeepTDA(2, 1, [-7.0, 7.0], [0.2, 0.2], [6, 16, 1])
    Trainer(max_epochs=8, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data)
    return module, data.train_dataloader(), data.val_dataloader()


def pykeen(callbacks: list[Any]) -> Trained:
    """Embeddings of a graph of knowledge that the package ships."""
    from pykeen.contrib.lightning import LCWALitModule
    from pytorch_lightning import Trainer

    module = LCWALitModule(dataset="nations", model="distmult", model_kwargs={"embedding_dim": 16}, batch_size=64, learning_rate=0.01)
    Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module)
    return module, None, None


def rectools(callbacks: list[Any]) -> Trained:
    """What somebody takes next, by attention; the package makes the Trainer, of ``pytorch_lightning``."""
    import numpy as np
    import pandas as pd
    from pytorch_lightning import Trainer
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    random = np.random.default_rng(0)
    user, k = (part.ravel() for part in np.mgrid[:80, :8])
    item, day = (random.integers(0, 12, 80)[user] + k) % 12, pd.Timestamp("2024-01-01") + pd.to_timedelta(k, "D")
    frame = pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Datetime: day, Columns.Weight: 1.0})

    def trainer() -> Any:
        return Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET)

    model = SASRecModel(n_factors=16, n_blocks=1, n_heads=1, session_max_len=8, batch_size=16, get_trainer_func=trainer)
    model.fit(Dataset.construct(frame))
    return model.lightning_model, None, None


def torchgeo(callbacks: list[Any]) -> Trained:
    """Land cover, one class per pixel, with augmentation after the transfer."""
    import torch
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader
    from torchgeo.trainers import SemanticSegmentationTask

    from scripts.foreign_libraries import circles

    image, mask = circles(48, 32)
    rows: Any = [{"image": i, "mask": m[0].long(), "bounds": torch.zeros(6)} for i, m in zip(image, mask, strict=True)]
    train, val = DataLoader(rows[:36], batch_size=6, shuffle=True), DataLoader(rows[36:], batch_size=6)
    module = SemanticSegmentationTask("unet", "resnet18", in_channels=3, num_classes=2)
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def anomalib(callbacks: list[Any]) -> Trained:
    """Faults in pictures, by an adversarial network under manual optimisation; the package's engine makes the Trainer."""
    import tempfile
    from pathlib import Path

    import numpy as np
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Ganomaly
    from PIL import Image

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in (("good", 24), ("bad", 8)):
            (Path(folder) / kind).mkdir()
            for i in range(count):
                picture = random.normal(128, 20, (64, 64, 3))
                if kind == "bad":
                    picture[20:40, 20:40] = 255
                Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(Path(folder) / kind / f"{i}.png")
        sizes = {"train_batch_size": 4, "eval_batch_size": 4, "num_workers": 0}
        data = Folder("pictures", root=folder, normal_dir="good", abnormal_dir="bad", seed=7, **sizes)
        module = Ganomaly(batch_size=4, n_features=8, latent_vec_size=8, visualizer=False)
        options = {
            **QUIET,
            "enable_checkpointing": True,
            "max_epochs": 2,
            "accelerator": "cpu",
            "devices": 1,
            "default_root_dir": folder,
            "callbacks": callbacks,
        }
        Engine(**options).fit(module, datamodule=data)
    return module, None, None
