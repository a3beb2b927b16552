from __future__ import annotations

import csv
import logging
import pickle
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks.hidden_tsne import HiddenTSNE

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
LOADER = DataLoader(TensorDataset(X, Y), batch_size=16)


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))

    def step(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.step(batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.step(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(callback: lightning.Callback, **options: Any) -> lightning.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(accelerator="cpu", callbacks=[callback], **{**quiet, **options})


def test_a_test_is_mapped(tmp_path: Path) -> None:
    callback, module = HiddenTSNE(dirpath=tmp_path / "out", class_names=["a", "b", "c"]), Module()
    trainer(callback).test(module, [LOADER, LOADER], verbose=False)
    assert set(callback.embeddings) == {"net.2 (input)", "net.4 (input)"}
    found = callback.embeddings["net.4 (input)"]
    assert (found.method, found.n, found.dim) == ("t-SNE", 60, 6)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "test-net-2--input.csv", "test-net-2--input.png", "test-net-4--input.csv", "test-net-4--input.png",
    ]  # fmt: skip
    rows = list(csv.reader((tmp_path / "out/test-net-4--input.csv").read_text().splitlines()))
    assert rows[0] == ["sample", "x", "y", "true", "predicted"]
    with torch.no_grad():
        guess = module.net(X).argmax(1)
    assert [row[3:] for row in rows[1:]] == [["abc"[t], "abc"[g]] for t, g in zip(Y, guess, strict=True)]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_fit_is_mapped_over_its_last_validation(tmp_path: Path) -> None:
    callback, module = HiddenTSNE(layers=["net.3"], dirpath=tmp_path / "out"), Module()
    trainer(callback, max_epochs=2).fit(module, LOADER, LOADER)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["fit-net-3--ReLU.csv", "fit-net-3--ReLU.png"]
    again = HiddenTSNE(layers=["net.3"])
    trainer(again).test(module, LOADER, verbose=False)
    assert np.array_equal(again.embeddings["net.3 (ReLU)"].xy, callback.embeddings["net.3 (ReLU)"].xy)
    assert pickle.loads(pickle.dumps(callback)).embeddings.keys() == callback.embeddings.keys()


def test_a_choice_of_samples() -> None:
    callback = HiddenTSNE(cap=30)
    trainer(callback).test(Module(), LOADER, verbose=False)
    found = callback.embeddings["net.4 (input)"]
    assert (found.n, found.cap, len(found.xy)) == (30, 30, 30)
    with pytest.raises(ValueError, match="cap must be a positive number of samples, got 0"):
        HiddenTSNE(cap=0)


def test_a_layer_that_does_not_exist_switches_it_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "diagnose"):
        trainer(HiddenTSNE(layers=["head"])).test(Module(), LOADER, verbose=False)
    assert caplog.text.count("no layer matches 'head'") == 1
    with pytest.raises(ValueError, match="no layer matches 'head'"):
        trainer(HiddenTSNE(layers="head", strict=True)).test(Module(), LOADER, verbose=False)


def test_values_have_a_map_without_classes(tmp_path: Path) -> None:
    class Regression(Module):
        def step(self, batch: Any) -> Tensor:
            return F.mse_loss(self.net(batch[0])[:, 0], batch[1].float())

    callback = HiddenTSNE(dirpath=tmp_path / "out")
    trainer(callback).test(Regression(), LOADER, verbose=False)
    assert callback.embeddings["net.4 (input)"].knn_accuracy is None
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".csv"}


def test_nothing_stays_behind_when_a_step_fails() -> None:
    class Broken(Module):
        def step(self, batch: Any) -> Tensor:
            self.net(batch[0])
            raise RuntimeError("my own error")

    module = Broken()
    with pytest.raises(RuntimeError, match="my own error"):
        trainer(HiddenTSNE()).test(module, LOADER, verbose=False)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_modules_that_change_their_hash_are_found_again() -> None:
    class Counting(nn.Identity):
        """As metrics do, it changes its hash with its state."""

        seen = 0

        def __hash__(self) -> int:
            return self.seen

        def forward(self, input: Tensor) -> Tensor:
            self.seen += 1
            return input

    module = Module()
    module.net.append(Counting())
    callback = HiddenTSNE(layers=["net.*"], strict=True)
    trainer(callback).test(module, LOADER, verbose=False)
    assert any("Counting" in layer for layer in callback.embeddings)


def test_maps_of_epochs_and_layers_share_their_samples_and_start_from_each_other(tmp_path: Path) -> None:
    callback, module = HiddenTSNE(layers=["net.1", "net.3"], cap=40, every_n_epochs=2, dirpath=tmp_path), Module()
    trainer(callback, max_epochs=4).fit(module, LOADER, LOADER)
    assert [(row["epoch"], row["layer"]) for row in callback.history] == [(e, f"net.{i} (ReLU)") for e in (1, 3) for i in (1, 3)]
    assert {p.name.split("-")[0] for p in tmp_path.iterdir()} == {"epoch0001", "epoch0003", "fit"}
    tables = [list(csv.reader(p.read_text().splitlines()))[1:] for p in sorted(tmp_path.glob("*.csv"))]
    assert len(tables) == 6
    assert len({tuple(row[0] for row in table) for table in tables}) == 1
    assert len(tables[0]) == 40

    def places(table: list[list[str]]) -> np.ndarray:
        return np.array([[float(v) for v in row[1:3]] for row in table]).ravel()

    early, late = places(tables[0]), places(tables[2])  # the same layer, two epochs apart
    assert np.corrcoef(early, late)[0, 1] > 0.5


def test_wrong_settings_of_maps_are_named() -> None:
    with pytest.raises(ValueError, match="every_n_epochs must be a positive number of epochs or None, got 0"):
        HiddenTSNE(every_n_epochs=0)
    with pytest.raises(ValueError, match="expected a map by t-SNE, PCA, UMAP, got 'tsne'"):
        HiddenTSNE(projection="tsne")
    assert HiddenTSNE(projection="PCA").projection == "PCA"
