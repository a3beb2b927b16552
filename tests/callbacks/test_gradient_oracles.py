"""Gradient norms of real trainings against the same trainings written out by hand: scaled, fused, accumulated, clipped, skipped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import Doctor, GradientClipping, GradientMonitor
from diagnose.record import Record

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:Precision 16-mixed is not supported"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
]
LIMIT = 0.2
SETTINGS: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "max_epochs": 1,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Net(lightning.LightningModule):
    """Three layers with weights, from the same seed always."""

    def __init__(self, kind: str = "sgd", manual: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)
        self.kind, self.manual = kind, manual
        self.automatic_optimization = not manual

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if not self.manual:
            return self.loss(batch)
        self.manual_backward(self.loss(batch) / self.manual)
        if (batch_idx + 1) % self.manual == 0:
            for optimizer in self.both():
                optimizer.step()
                optimizer.zero_grad()
        return None

    def both(self) -> list[Any]:
        found: Any = self.optimizers()
        return found if isinstance(found, list) else [found]

    def make(self) -> list[torch.optim.Optimizer]:
        parts = [self.body, self.head] if self.manual else [self]
        kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
        name, _, fused = self.kind.partition(" ")
        return [kinds[name](part.parameters(), lr=0.1 if name == "sgd" else 0.01, fused=bool(fused)) for part in parts]

    def configure_optimizers(self) -> Any:
        return self.make()


def batches() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(48, 6, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=4)


@dataclass
class Written:
    """What a loop written by hand measured, one entry per optimizer step (several optimizers that step together are one)."""

    total: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)
    layers: list[list[float]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    weights: Tensor = field(default_factory=lambda: torch.zeros(0))


def length(gradients: list[Tensor]) -> float:
    return math.sqrt(sum(float(g.double().square().sum()) for g in gradients))


Limit = Callable[[int, float], float]


def fixed(optimizer: int, norm: float) -> float:
    return LIMIT


def by_hand(
    module: Net,
    *,
    accumulate: int = 1,
    clip: Limit | None = None,
    scaler: torch.amp.GradScaler | None = None,
    dtype: torch.dtype | None = None,
) -> Written:
    """The training without Lightning: norms are divided by the scale, and clipped is at what ``clip`` says of an optimizer's norm."""
    found, optimizers = Written(), module.make()
    skipped = 0
    for index, batch in enumerate(batches()):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            loss = module.loss(batch) / accumulate
        (scaler.scale(loss) if scaler is not None else loss).backward()  # type: ignore[no-untyped-call]
        if (index + 1) % accumulate:
            continue
        scale = scaler.get_scale() if scaler is not None else 1.0
        parameters = list(module.parameters())
        gradients = [p.grad / scale for p in parameters if p.grad is not None]
        found.total.append(length(gradients))
        found.layers.append([length(gradients[i : i + 2]) for i in (0, 2, 4)])
        for number, optimizer in enumerate(optimizers if clip is not None else ()):
            own = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norm = length(own) / scale
            if clip is not None and np.isfinite(norm):
                limit = clip(number, norm)
                for gradient in own:
                    gradient.mul_(min(1.0, limit / (norm + 1e-6)))
        found.clipped.append(length([p.grad / scale for p in parameters if p.grad is not None]))
        for optimizer in optimizers:
            if scaler is not None:
                scaler.step(optimizer)
            else:
                optimizer.step()
            optimizer.zero_grad()
        if scaler is not None:
            scaler.update()
            skipped += scaler.get_scale() < scale
        found.skipped.append(skipped)
    found.weights = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    return found


def fit(module: Net, *callbacks: lightning.Callback, scaler: torch.amp.GradScaler | None = None, **settings: Any) -> Record:
    """The same with Lightning; the record of the first callback."""
    plugins = {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]} if scaler is not None else {}
    lightning.Trainer(**{**SETTINGS, **plugins, **settings}, callbacks=list(callbacks)).fit(module, batches())
    first: Any = callbacks[0]
    record: Record = first.record
    return record


def scaling(start: float | None, growth: int = 3) -> torch.amp.GradScaler | None:
    return torch.amp.GradScaler("cpu", init_scale=start, growth_interval=growth) if start is not None else None


CASES = [
    (kind, start, accumulate, clip)
    for kind in ("sgd", "sgd fused", "adam", "adam fused")
    for start in (None, 512.0)
    for accumulate in (1, 3)
    for clip in ("", "trainer", "callback")
    if not (clip == "trainer" and start and "fused" in kind)  # Lightning refuses to clip what an optimizer unscales itself
]


@pytest.mark.parametrize(("kind", "start", "accumulate", "clip"), CASES)
def test_norms_are_those_of_the_training_written_out(kind: str, start: float | None, accumulate: int, clip: str) -> None:
    dtype = torch.float16 if start else None
    expected = by_hand(Net(kind), accumulate=accumulate, clip=fixed if clip else None, scaler=scaling(start), dtype=dtype)
    settings: dict[str, Any] = {"accumulate_grad_batches": accumulate, "gradient_clip_val": LIMIT if clip == "trainer" else None}
    module, clipping = Net(kind), [GradientClipping(norm=LIMIT)] if clip == "callback" else []
    record = fit(module, GradientMonitor(every_n_steps=1, strict=True), *clipping, scaler=scaling(start), **settings)
    rtol = 2e-3 if start else 1e-4
    np.testing.assert_allclose(record.series("grad_norm/total").value, expected.total, rtol=rtol)
    assert record.series("grad_norm/total").step.tolist() == list(range(12 // accumulate))
    layers = record.series("grad_norm/layers")
    assert layers.labels == ("body.0", "body.2", "head")
    np.testing.assert_allclose(layers.value, expected.layers, rtol=rtol)
    if clip:
        np.testing.assert_allclose(record.series("grad_norm/clipped").value, expected.clipped, rtol=rtol)
        ratio = np.array(expected.clipped) / expected.total
        np.testing.assert_allclose(record.series("clip/ratio").value, ratio, rtol=rtol)
        assert ratio.min() < 0.9
    weights = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    torch.testing.assert_close(weights, expected.weights, rtol=1e-3, atol=1e-4)


def test_bfloat16_needs_no_scaler() -> None:
    expected = by_hand(Net(), dtype=torch.bfloat16)
    record = fit(Net(), GradientMonitor(every_n_steps=1, strict=True), precision="bf16-mixed")
    np.testing.assert_allclose(record.series("grad_norm/total").value, expected.total, rtol=1e-2)


@pytest.mark.parametrize("manual", [1, 3])
@pytest.mark.parametrize("start", [None, 512.0])
@pytest.mark.parametrize("kind", ["sgd", "adam fused"])
def test_two_optimizers_by_hand_stand_in_one_row(kind: str, start: float | None, manual: int) -> None:
    # Lightning updates the scale after each optimizer, with gradients of the old scale left
    expected = by_hand(Net(kind, manual), accumulate=manual, scaler=scaling(start, growth=100), dtype=torch.float16 if start else None)
    record = fit(Net(kind, manual), GradientMonitor(every_n_steps=1, strict=True), scaler=scaling(start, growth=100))
    rtol = 2e-3 if start else 1e-4
    np.testing.assert_allclose(record.series("grad_norm/total").value, expected.total, rtol=rtol)
    np.testing.assert_allclose(record.series("grad_norm/layers").value, expected.layers, rtol=rtol)


@pytest.mark.parametrize("kind", ["sgd", "adam fused"])
def test_steps_that_a_scaler_skips_are_counted_and_are_no_gradients(kind: str) -> None:
    expected = by_hand(Net(kind), scaler=scaling(2.0**22), dtype=torch.float16)
    doctor = Doctor(every_n_steps=1, probes=False, strict=True)
    record = fit(Net(kind), doctor, scaler=scaling(2.0**22))
    assert 2 <= expected.skipped[-1] <= 8
    assert record.series("scaler/skipped").value.tolist() == expected.skipped
    norms = record.series("grad_norm/total")
    taken = [i for i, norm in enumerate(expected.total) if np.isfinite(norm)]
    assert norms.step.tolist() == taken
    np.testing.assert_allclose(norms.value, np.array(expected.total)[taken], rtol=5e-3)
    assert np.isfinite(record.series("grad_norm/layers").value).all()
    assert "nonfinite" not in record.facts
    assert "T301" not in {f.code for f in doctor.diagnosis.findings}


def test_what_a_module_clips_itself_is_measured_after_it() -> None:
    """A fused optimizer unscales inside of its step, so such a module clips scaled gradients."""

    class Own(Net):
        def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            scaler: Any = self.trainer.precision_plugin.scaler  # type: ignore[attr-defined]
            nn.utils.clip_grad_norm_(self.parameters(), LIMIT * scaler.get_scale())

    expected = by_hand(Net("adam fused"), clip=fixed, scaler=scaling(512.0), dtype=torch.float16)
    record = fit(Own("adam fused"), GradientMonitor(every_n_steps=1, strict=True), scaler=scaling(512.0))
    np.testing.assert_allclose(record.series("grad_norm/total").value, expected.total, rtol=2e-3)
    np.testing.assert_allclose(record.series("grad_norm/clipped").value, expected.clipped, rtol=2e-3)


@pytest.mark.parametrize("start", [None, 512.0])
@pytest.mark.parametrize("kind", ["sgd", "adam fused"])
def test_by_percentile_each_optimizer_has_a_history_of_its_own(kind: str, start: float | None) -> None:
    histories: list[list[float]] = [[], []]

    def percentile(optimizer: int, norm: float) -> float:
        histories[optimizer].append(norm)
        return float(np.percentile(histories[optimizer], 25))

    module, clipping, monitor = Net(kind, 1), GradientClipping(percentile=25), GradientMonitor(every_n_steps=1, strict=True)
    record = fit(module, monitor, clipping, scaler=scaling(start, growth=100))
    expected = by_hand(Net(kind, 1), clip=percentile, scaler=scaling(start, growth=100), dtype=torch.float16 if start else None)
    rtol = 5e-3 if start else 1e-4
    np.testing.assert_allclose(record.series("grad_norm/total").value, expected.total, rtol=rtol)
    np.testing.assert_allclose(record.series("grad_norm/clipped").value, expected.clipped, rtol=rtol)
    clipped = sum(norm > np.percentile(history[: i + 1], 25) for history in histories for i, norm in enumerate(history))
    assert clipping.share == pytest.approx(clipped / 24)
    assert 0.3 < clipping.share < 0.95
