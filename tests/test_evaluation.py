from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
import torchmetrics
from sklearn import metrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.evaluation import evaluate_training
from diagnose.record import Record


class Small(lightning.LightningModule):
    """Three classes by the first two features; dropout and batch norm would show a wrong mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x)
        return scores

    def step(self, batch: Any) -> Tensor:
        loss: Tensor = F.cross_entropy(self(batch[0]), batch[1])
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self.step(batch)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Usual(Small):
    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("test_loss", self.step(batch), prog_bar=True)


class Validated(Small):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.step(batch))


class Returning(Small):
    def test_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"preds": self(batch[0]).softmax(1), "target": batch[1]}


class OwnLoss(Small):
    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = -self(batch[0]).log_softmax(1).gather(1, batch[1][:, None]).mean()
        return loss


X = torch.randn(90, 4, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
LOADER = DataLoader(TensorDataset(X, Y), batch_size=32)


def fitted(kind: type[Small]) -> Small:
    module = kind()
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    lightning.Trainer(max_epochs=12, accelerator="cpu", enable_model_summary=False, limit_val_batches=0, **options).fit(module, LOADER)
    return module


@pytest.fixture(scope="module")
def trained() -> Small:
    return fitted(Usual)


def expected(module: Small) -> np.ndarray:
    module.eval()
    with torch.no_grad():
        probability: np.ndarray = module(X).softmax(1).numpy()
    module.train()
    return probability


def test_the_numbers_are_those_of_scikit_learn(trained: Small) -> None:
    probability, target = expected(trained), Y.numpy()
    found = diagnose.evaluate(trained, LOADER, class_names=["low", "middle", "high"])
    guess = probability.argmax(1)
    assert found.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(target, guess), abs=1e-6)
    assert found.metrics["macro_f1"] == pytest.approx(metrics.f1_score(target, guess, average="macro"), abs=1e-6)
    assert found.metrics["log_loss"] == pytest.approx(metrics.log_loss(target, probability), abs=1e-6)
    assert found.metrics["brier"] == pytest.approx(metrics.brier_score_loss(target, probability, labels=[0, 1, 2]), abs=1e-6)
    assert found.metrics["roc_auc"] == pytest.approx(metrics.roc_auc_score(target, probability, multi_class="ovr"), abs=1e-6)
    assert found.confusion is not None
    assert np.array_equal(found.confusion, metrics.confusion_matrix(target, guess))
    entry = found.record.facts["evaluation"]["test"]
    assert [row["name"] for row in entry["per_class"]] == ["low", "middle", "high"]
    for metric in ("accuracy", "macro_f1", "balanced_accuracy", "mcc", "log_loss"):
        low, high = entry["intervals"][metric]
        assert low <= entry[metric] <= high
    assert entry["baseline"]["accuracy"] == pytest.approx(np.bincount(target).max() / 90)
    np.testing.assert_allclose(found.record.arrays["test/probability"], probability, atol=1e-6)
    assert np.array_equal(found.record.arrays["test/target"], target)
    assert found.record.arrays["test/loss"].mean() == pytest.approx(entry["log_loss"], abs=1e-5)
    assert found.record.facts["task"] == {
        "kind": "multiclass",
        "loss": "cross_entropy",
        "classes": 3,
        "class_names": ["low", "middle", "high"],
        "extracted_by": "the arguments of cross_entropy in test_step",
    }
    assert found.diagnosis.at_or_above("warning") == ()


def test_the_batch_size_does_not_matter(trained: Small) -> None:
    one = diagnose.evaluate(trained, DataLoader(TensorDataset(X, Y), batch_size=7))
    two = diagnose.evaluate(trained, LOADER)
    assert one.metrics == pytest.approx(two.metrics, abs=1e-6)


def test_the_module_is_left_as_it_was(trained: Small) -> None:
    trained.net[3].eval()
    weight = next(trained.parameters())
    weight.grad = torch.ones_like(weight)
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    trainer, random, keys = trained._trainer, torch.get_rng_state(), set(trained.__dict__)
    diagnose.evaluate(trained, LOADER)
    assert all(torch.equal(v, before[k]) for k, v in trained.state_dict().items())
    assert trained._trainer is trainer
    assert torch.equal(torch.get_rng_state(), random)
    assert set(trained.__dict__) == keys
    assert trained.training
    assert not trained.net[3].training
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trained.modules())
    trained.net[3].train()
    weight.grad = None


def test_what_steps_collect_is_left_as_it_was() -> None:
    """Metrics and lists that the module's own end of a validation would read and clear."""

    class Collecting(Validated):
        def __init__(self) -> None:
            super().__init__()
            self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=3)
            self.outputs: list[Tensor] = []
            self.counts = torch.zeros(1)
            self.batches = 0

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.outputs.append(self(batch[0]))
            self.accuracy.update(self.outputs[-1], batch[1])
            self.counts += 1
            self.batches += 1

    module = Collecting()
    module.accuracy.update(torch.eye(3), torch.arange(3))
    diagnose.evaluate(module, LOADER)
    assert (module.outputs, module.batches, module.counts.item()) == ([], 0, 0.0)
    assert module.accuracy.update_count == 1
    assert module.accuracy.compute() == 1.0


def test_it_is_left_as_it_was_when_its_step_fails() -> None:
    class Broken(Small):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            raise RuntimeError("my own error")

    module = Broken()
    with pytest.raises(RuntimeError, match="my own error"):
        diagnose.evaluate(module, LOADER)
    assert "test_step" not in module.__dict__
    assert module._trainer is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        (Validated, "the arguments of cross_entropy in validation_step"),
        (Small, "the arguments of cross_entropy in training_step"),
        (Returning, 'the "preds" and "target" that the step returns in test_step'),
    ],
)
def test_other_ways_to_the_same_numbers(trained: Small, kind: type[Small], source: str) -> None:
    module = kind()
    module.load_state_dict(trained.state_dict())
    found = diagnose.evaluate(module, LOADER)
    assert found.metrics == pytest.approx(diagnose.evaluate(trained, LOADER).metrics, abs=1e-6)
    assert found.record.facts["task"]["extracted_by"] == source


def test_a_loss_written_by_hand_needs_extract(trained: Small) -> None:
    module = OwnLoss()
    module.load_state_dict(trained.state_dict())
    with pytest.raises(ValueError, match=r"no predictions were found for the loader 'test'.*pass extract="):
        diagnose.evaluate(module, LOADER)
    found = diagnose.evaluate(module, LOADER, extract=lambda output, batch: (module(batch[0]), batch[1]))
    assert found.metrics == pytest.approx(diagnose.evaluate(trained, LOADER).metrics, abs=1e-6)


def test_a_module_without_steps() -> None:
    class Bare(lightning.LightningModule):
        pass

    with pytest.raises(ValueError, match="Bare has none of test_step, validation_step, training_step"):
        diagnose.evaluate(Bare(), LOADER)


def test_several_loaders_are_kept_apart(trained: Small) -> None:
    half = DataLoader(TensorDataset(X[:40], Y[:40]), batch_size=16)
    found = diagnose.evaluate(trained, {"train": LOADER, "test": half})
    entries = found.record.facts["evaluation"]
    assert {name: entry["n"] for name, entry in entries.items()} == {"train": 90, "test": 40}
    assert len(found.record.arrays["test/target"]) == 90
    assert list(diagnose.evaluate(trained, [half, LOADER]).record.facts["evaluation"]) == ["test", "test/1"]
    with pytest.raises(ValueError, match="expected a name for each of 2 loaders"):
        diagnose.evaluate(trained, [half, LOADER], loader_names=["a"])


def test_hidden_layers(trained: Small) -> None:
    record = diagnose.evaluate(trained, LOADER).record
    assert list(record.facts["embedding"]) == ["net.4 (input)", "net.6 (input)"], "from early to late"
    last = record.facts["embedding"]["net.6 (input)"]
    assert (last["method"], last["n"], last["dim"], last["seed"]) == ("t-SNE", 90, 8, 0)
    assert last["knn_accuracy"] > 0.7
    assert record.arrays["embedding/net.6 (input)"].shape == (90, 2)
    assert np.array_equal(record.arrays["embedding/net.6 (input)/rows"], np.arange(90))
    again = diagnose.evaluate(trained, LOADER).record
    assert np.array_equal(record.arrays["embedding/net.6 (input)"], again.arrays["embedding/net.6 (input)"])


def test_layers_by_name_and_glob(trained: Small) -> None:
    def layers(*wanted: str) -> list[str]:
        return list(diagnose.evaluate(trained, LOADER, layers=wanted).record.facts["embedding"])

    assert layers("net.2") == ["net.2 (ReLU)"]
    assert layers("net.[52]", "net.4 (input)") == ["net.2 (ReLU)", "net.4 (input)", "net.5 (Tanh)"], "from early to late"
    with pytest.raises(ValueError, match=r"no layer matches 'head'; there are net, net\.0"):
        layers("head")


def test_a_layer_and_what_wraps_it_are_one() -> None:
    class Wrapped(Small):
        def __init__(self) -> None:
            super().__init__()
            head = nn.Sequential(nn.Linear(4, 3))
            head.bias = nn.Parameter(torch.zeros(3))
            self.net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), head)

    assert set(diagnose.evaluate(Wrapped(), LOADER).record.facts["embedding"]) == {"net.2 (input)"}


def test_the_task_can_be_set(trained: Small) -> None:
    assert diagnose.evaluate(trained, LOADER, task="next-token").metrics["perplexity"] > 1
    with pytest.raises(ValueError, match="the task was set to regression, but the loss gives predictions of multiclass"):
        diagnose.evaluate(trained, LOADER, task="regression")
    with pytest.raises(ValueError, match="expected a task among binary, multiclass, multilabel, regression, next-token, got 'ranking'"):
        diagnose.evaluate(trained, LOADER, task="ranking")


def test_training_data_are_measured_in_evaluation_mode(trained: Small) -> None:
    record = Record()
    evaluate_training(trained, LOADER, record=record, class_names=["low", "middle", "high"])
    assert record.facts["evaluation.train"]["accuracy"] == diagnose.evaluate(trained, LOADER).metrics["accuracy"]
    assert "label_errors" not in record.facts["evaluation.train"]
    evaluate_training(trained, LOADER, record=record, rows=40)
    assert record.facts["evaluation.train"]["n"] == 64


def test_each_loader_has_its_arrays(trained: Small) -> None:
    half = DataLoader(TensorDataset(X[:40], Y[:40]), batch_size=16)
    record = diagnose.evaluate(trained, {"first": LOADER, "second": half}).record
    assert [entry["arrays"] for entry in record.facts["evaluation"].values()] == ["test", "test/1"]
    assert np.array_equal(record.arrays["test/1/target"], Y[:40].numpy())
    assert len(record.arrays["test/1/loss"]) == 40


def test_clusters_of_the_last_layer_are_slices() -> None:
    module = fitted(Usual)
    flipped = torch.where(X[:, 0] > 0.5, (Y + 1) % 3, Y)
    found = diagnose.evaluate(module, DataLoader(TensorDataset(X, flipped), batch_size=32)).record.facts["evaluation"]["test"]["slices"]
    assert found["tested"] > 0
    columns = {row["column"] for row in found["slices"]}
    assert columns <= {"cluster in net.6 (input)", "true class"}
    assert all("(mostly " in row["value"] for row in found["slices"] if row["column"] != "true class")


def test_named_columns_are_slices_and_stand_beside_samples(trained: Small) -> None:
    names = ["age", "</script>", *map(str, range(X.shape[1] - 2))]
    record = diagnose.evaluate(trained, LOADER, feature_names=names, original=lambda x: 10 * x + 5).record
    entry = record.facts["evaluation"]["test"]
    assert [f["name"] for f in entry["features"]] == names
    low, middle, high = np.quantile(10 * X[:, 0].numpy() + 5, (0.25, 0.5, 0.75))
    assert (entry["features"][0]["median"], entry["features"][0]["spread"]) == pytest.approx((middle, high - low), rel=1e-4)
    rows = record.arrays["test/input/rows"]
    assert record.arrays["test/input"] == pytest.approx(10 * X[rows].numpy() + 5, rel=1e-5)
    plain = diagnose.evaluate(trained, LOADER).record.facts["evaluation"]["test"]
    assert "features" not in plain
    assert entry["slices"]["tested"] > plain["slices"]["tested"]
    other = diagnose.evaluate(trained, LOADER, feature_names=["one"]).record.facts["evaluation"]["test"]
    assert "features" not in other, "there are more columns than names"


def test_it_shows_itself(trained: Small) -> None:
    found = diagnose.evaluate(trained, LOADER, class_names=["<i>", "b", "c"])
    assert repr(found).startswith("Evaluation: test, multiclass, 90 samples\n  accuracy")
    assert "baseline" in repr(found)
    assert "accuracy" in found._repr_html_()
    assert "<i>" not in found._repr_html_()


def test_everything_can_be_written_and_read_back(trained: Small, tmp_path: Path) -> None:
    record = Record(tmp_path / "record")
    diagnose.evaluate(trained, LOADER, record=record)
    record.close()
    again = Record.read(tmp_path / "record")
    json.dumps(again.facts["evaluation"], allow_nan=False)
    assert again.facts["evaluation"]["test"]["confusion"] == record.facts["evaluation"]["test"]["confusion"]
    assert np.array_equal(again.arrays["embedding/net.6 (input)"], record.arrays["embedding/net.6 (input)"])


def test_predictions_that_are_not_finite_are_counted() -> None:
    module = Usual()
    with torch.no_grad():
        list(module.parameters())[-1][0] = float("nan")
    with pytest.raises(ValueError, match="none of the 90 predictions on 'test' is finite"):
        diagnose.evaluate(module, LOADER)
    broken = X.clone()
    broken[5] = float("nan")
    found = diagnose.evaluate(Usual(), DataLoader(TensorDataset(broken, Y), batch_size=32))
    entry = found.record.facts["evaluation"]["test"]
    assert (entry["n"], entry["non_finite"]) == (89, 1)
    assert entry["note"].startswith("1 of 90 samples are left out")
