"""Views that exchange axes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from diagnose import check
from diagnose.record import Record
from tests.experiments.odd import Classifier


class Series(Classifier):
    """A label per step, or one of the series, of inputs of shape (batch, time, features); ``way`` brings axes into another order."""

    def __init__(self, way: str) -> None:
        super().__init__(nn.Linear(4, 3))
        self.way = way

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        n, steps, features = x.shape
        if self.way == "samples":
            x = x.transpose(0, 1).reshape(steps, n, features).reshape(n, steps, features)
        scores = self(x)
        scores = scores.reshape(n, 3, steps) if self.way == "scores" else scores.transpose(1, 2)
        return F.cross_entropy(scores, y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("way", "entry", "rule"),
    [
        ("samples", {"before": [7, 16, 4], "after": [16, 7, 4], "samples": True, "scores": False}, "sample-leakage"),
        ("scores", {"before": [16, 7, 3], "after": [16, 3, 7], "samples": False, "scores": True}, "wrong-softmax-axis"),
        ("", None, ""),
    ],
)
def test_views_that_exchange_axes(way: str, entry: dict[str, Any] | None, rule: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(160, 7, 4)
    loader = DataLoader(TensorDataset(x, x[..., :3].argmax(-1)), batch_size=16)
    record = Record()
    (*found,) = (f for f in check(Series(way), loader, record=record).findings if "view or reshape" in f.message)
    assert record.facts.get("probe.views") == ([entry] if entry else None)
    assert [f.rule for f in found] == ([rule] if rule else [])
    assert all(f"{tuple(entry['before'])} into shape {tuple(entry['after'])}" in f.message for f in found if entry)
