"""Monitors in real trainings give the right numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diagnose.callbacks import ActivationMonitor, Doctor, GradientMonitor, LossMonitor, UpdateMonitor
from tests.callbacks.plain_training import Net, data, fit

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


def by_hand(module: Net, batches: list[Any]) -> list[float]:
    """Norms of the gradients of plain descent, written out."""
    norms = []
    optimizer = torch.optim.SGD(module.parameters(), lr=module.lr)
    for group in batches:
        optimizer.zero_grad()
        for batch in group:
            (nn.functional.cross_entropy(module(batch[0]), batch[1]) / len(group)).backward()  # type: ignore[no-untyped-call]
        norms.append(float(torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None]).norm()))
        optimizer.step()
    return norms


def twin(module: Net) -> Net:
    copied = Net(module.lr)
    copied.load_state_dict(module.state_dict())
    return copied


def test_gradient_norms_are_those_of_a_loop_written_by_hand() -> None:
    module, monitor = Net(), GradientMonitor(every_n_steps=1)
    expected = by_hand(twin(module), [[b] for b in data()])
    fit(module, monitor)
    np.testing.assert_allclose(monitor.record.series("grad_norm/total").value, expected, rtol=1e-5)
    layers = monitor.record.series("grad_norm/layers")
    assert layers.labels == ("first", "second")
    np.testing.assert_allclose(np.sqrt((layers.value**2).sum(1)), expected, rtol=1e-5)


def test_accumulated_gradients_are_measured_once_per_step() -> None:
    module, monitor = Net(), GradientMonitor(every_n_steps=1)
    batches = list(data())
    expected = by_hand(twin(module), [batches[:4], batches[4:8]])
    fit(module, monitor, accumulate_grad_batches=4)
    series = monitor.record.series("grad_norm/total")
    assert len(series) == 3
    np.testing.assert_allclose(series.value[:2], expected, rtol=1e-5)


def test_norms_before_and_after_clipping() -> None:
    monitor = GradientMonitor(every_n_steps=1)
    fit(Net(), monitor, gradient_clip_val=0.01)
    before, after = (monitor.record.series(f"grad_norm/{name}").value for name in ("total", "clipped"))
    assert (before > 0.05).all()
    np.testing.assert_allclose(after, 0.01, rtol=1e-3)
    np.testing.assert_allclose(monitor.record.series("clip/ratio").value, after / before, rtol=1e-5)


def test_without_clipping_there_is_nothing_after_it() -> None:
    monitor = GradientMonitor(every_n_steps=1)
    fit(Net(), monitor)
    assert "grad_norm/clipped" not in monitor.record


def test_clipping_by_hand_before_the_step_is_seen() -> None:
    class Clipped(Net):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            nn.utils.clip_grad_norm_(self.parameters(), 0.01)

    monitor = GradientMonitor(every_n_steps=1)
    fit(Clipped(), monitor)
    np.testing.assert_allclose(monitor.record.series("grad_norm/clipped").value, 0.01, rtol=1e-3)
    assert (monitor.record.series("grad_norm/total").value > 0.05).all()


def test_an_update_is_rate_times_gradient_over_weight() -> None:
    gradients, updates = GradientMonitor(every_n_steps=1), UpdateMonitor(every_n_steps=1)
    fit(Net(lr=0.01), gradients, updates)
    expected = 0.01 * gradients.record.series("grad_norm/layers").value / updates.record.series("weight_norm/layers").value
    np.testing.assert_allclose(updates.record.series("update_ratio/layers").value, expected, rtol=1e-2)


def test_how_far_the_weights_are_is_recorded_until_they_move() -> None:
    monitor, still = UpdateMonitor(every_n_steps=1), UpdateMonitor(every_n_steps=1)
    fit(Net(lr=0.01), monitor)
    fit(Net(lr=0.0), still)
    (moved,) = monitor.record.series("weights/moved").value
    assert moved > 0
    assert still.record.series("weights/moved").value.tolist() == [0.0] * 11


def test_steps_that_are_never_made_are_found() -> None:
    class Warming(Net):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer_closure()

    doctor = Doctor(probes=False, options={"frozen-parameter": {"batches": 10}})
    fit(Warming(), doctor)
    (found,) = [f for f in doctor.diagnosis.findings if f.rule == "frozen-parameter"]
    assert "no optimizer was seen to step" in found.message


def test_losses_are_those_of_every_batch_and_not_divided() -> None:
    module, monitor = Net(lr=0.0), LossMonitor()
    expected = [nn.functional.cross_entropy(module(b[0]), b[1]).item() for b in data()]
    fit(module, monitor, accumulate_grad_batches=4)
    np.testing.assert_allclose(monitor.record.series("train/loss").value, expected, rtol=1e-5)
    assert monitor.record.series("train/loss").batch.tolist() == list(range(10))


def test_validation_is_weighted_by_samples() -> None:
    module, monitor = Net(lr=0.0), LossMonitor()
    held = data(rows=22)
    x, y = held.dataset.tensors  # type: ignore[attr-defined]
    scores = module(x).detach()
    fit(module, monitor, val=held)
    assert monitor.record.series("val/loss").value[0] == pytest.approx(nn.functional.cross_entropy(scores, y).item(), rel=1e-5)
    assert monitor.record.series("val/accuracy").value[0] == pytest.approx((scores.argmax(1) == y).float().mean().item(), rel=1e-5)


def test_functional_activations_are_named_after_the_layer_before() -> None:
    monitor = ActivationMonitor(every_n_steps=1)
    fit(Net(), monitor, loader=data(batch=10))
    assert monitor.record.series("activation/dead").labels == ("first → relu",)
    assert len(monitor.record.series("activation/mean")) == 4
