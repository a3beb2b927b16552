"""What becomes of a loss when its batch is doubled."""

from __future__ import annotations

from typing import Any

import pytest
from torch.nn import functional as F

from diagnose.experiments.reduction import double_batch
from tests.experiments.odd import Classifier, Regressor, blobs, loaders, sandboxed


@pytest.mark.parametrize(("reduction", "ratio"), [("mean", 1.0), ("sum", 2.0)])
def test_a_batch_twice_over(reduction: str, ratio: float) -> None:
    class Reduced(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self(batch[0]), batch[1], reduction=reduction)

    x, _ = blobs()
    record = sandboxed(Reduced(), loaders(x, x[:, :1])[0], lambda sandbox, record: double_batch(sandbox, record))
    assert record.facts["probe.reduction"]["ratio"] == pytest.approx(ratio, rel=1e-5)
    assert record.facts["probe.reduction"]["samples"] == 16


def test_a_batch_twice_over_tells_what_is_called_from_what_is_added() -> None:
    class Mixed(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self(batch[0]), batch[1]) + self(batch[0]).square().sum()

    x, _ = blobs()
    record = sandboxed(Mixed(), loaders(x, x[:, :1])[0], lambda sandbox, record: double_batch(sandbox, record))
    assert record.facts["probe.reduction"]["watched"] == pytest.approx(1.0, rel=1e-5)
    assert record.facts["probe.reduction"]["added"] == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize(("added", "grown"), [("sum", 3.0), ("mean", None)])
def test_a_sum_in_a_larger_mean_is_measured_at_three_sizes(added: str, grown: float | None) -> None:
    class Hidden(Regressor):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            rows = F.mse_loss(self(batch[0]), batch[1], reduction="none").sum(1).mean()
            return 50 + rows + getattr((batch[0] / 4).square(), added)()

    x, _ = blobs()
    record = sandboxed(Hidden(), loaders(x, x[:, :1])[0], lambda sandbox, record: double_batch(sandbox, record))
    seen = record.facts["probe.reduction"]
    if grown is None:
        assert (seen["ratio"], seen["quadruple"]) == (pytest.approx(1.0, rel=1e-5), None)
    else:
        assert seen["quadruple"] - seen["single"] == pytest.approx(grown * (seen["double"] - seen["single"]), rel=1e-3)


def test_no_finite_loss() -> None:
    class Broken(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * float("nan")

    record = sandboxed(Broken(), loaders()[0], lambda sandbox, record: double_batch(sandbox, record))
    assert record.missing["probe.reduction"] == "the step gave no finite loss"


@pytest.mark.parametrize(("every", "divided", "left"), [(1, True, 1 / 16), (2, True, 1 / 32), (2, False, 1.0), (40, True, None)])
def test_what_a_manual_loop_leaves_of_the_gradients_of_a_sum(every: int, divided: bool, left: float | None) -> None:
    class Divides(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.manual_backward(F.cross_entropy(self(batch[0]), batch[1], reduction="sum"))
            if (batch_idx + 1) % every == 0:
                optimizer: Any = self.optimizers()
                for p in self.parameters():
                    assert p.grad is not None
                    p.grad.div_(16 * every if divided else 1)
                optimizer.step()
                optimizer.zero_grad()

    record = sandboxed(Divides(), loaders()[0], lambda sandbox, record: double_batch(sandbox, record))
    assert record.facts["probe.reduction"]["left"] == (left if left is None else pytest.approx(left, rel=1e-5))
