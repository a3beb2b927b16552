"""Clipping by norm, by value and by percentile equals what torch, Lightning and a calculation by hand give."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import Doctor, GradientClipping, GradientMonitor
from diagnose.cli import main
from tests.callbacks.identity import QUIET
from tests.callbacks.jobs_networks import Bag
from tests.callbacks.jobs_steps import Adversarial
from tests.callbacks.trainings import Module, mlp

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:Precision 16-mixed is not supported"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
]
BY: list[dict[str, Any]] = [{"norm": 0.1}, {"value": 0.01}, {"percentile": 10}]
SETTINGS: dict[str, Any] = {**QUIET, "max_epochs": 2, "logger": False, "enable_checkpointing": False}


def loader(rows: int = 32) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 6, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=4)


class Plain(Module):
    """Without noise, so that two trainings can be compared."""

    def __init__(self, net: nn.Module | None = None, optimizer: Any = torch.optim.SGD, lr: float = 0.5, **options: Any) -> None:
        torch.manual_seed(0)
        super().__init__(net or mlp(), optimizer, lr, **options)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)


def fit(module: lightning.LightningModule, *callbacks: lightning.Callback, **settings: Any) -> lightning.Trainer:
    trainer = lightning.Trainer(**{**SETTINGS, **settings}, callbacks=list(callbacks))
    trainer.fit(module, loader())
    return trainer


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}], ids=str)
def test_it_clips_as_the_trainer_does(algorithm: str, settings: dict[str, Any]) -> None:
    ours, theirs = Plain(), Plain()
    limit = 0.3 if algorithm == "norm" else 0.02
    given: dict[str, Any] = {algorithm: limit}
    fit(ours, clipping := GradientClipping(**given), **settings)
    fit(theirs, gradient_clip_val=limit, gradient_clip_algorithm=algorithm, **settings)
    assert torch.equal(weights(ours), weights(theirs))
    assert 0 < clipping.share <= 1


def auto_clip(percentile: float, window: int = 10_000) -> tuple[Tensor, list[float], int]:
    """A training with AutoClip written out, with numpy's percentile and torch's clipping."""
    module, history, thresholds, clipped = Plain(), [], [], 0
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(2):
        for batch in loader():
            optimizer.zero_grad()
            module.loss(batch).backward()  # type: ignore[no-untyped-call]
            history.append(float(torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None]).norm()))
            thresholds.append(float(np.percentile(history[-window:], percentile)))
            clipped += history[-1] > thresholds[-1]
            nn.utils.clip_grad_norm_(module.parameters(), thresholds[-1])
            optimizer.step()
    return weights(module), thresholds, clipped


@pytest.mark.parametrize(("percentile", "window"), [(10, 10_000), (50, 10_000), (33.3, 5)])
def test_by_percentile_it_is_auto_clip(percentile: float, window: int) -> None:
    expected, thresholds, clipped = auto_clip(percentile, window)
    module, clipping = Plain(), GradientClipping(percentile=percentile, window=window)
    fit(module, clipping)
    torch.testing.assert_close(weights(module), expected, rtol=1e-5, atol=1e-6)
    assert clipping.threshold == pytest.approx(thresholds[-1], rel=1e-5)
    assert clipping.steps == 16
    assert clipping.share == pytest.approx(clipped / 16)


def scaled(**options: Any) -> dict[str, Any]:
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", **options))]}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("by", BY, ids=str)
def test_under_a_scaler_gradients_are_unscaled_once(by: dict[str, Any], fused: bool) -> None:
    found = []
    for scale in (1.0, 1024.0):
        module, monitor = Plain(optimizer=torch.optim.SGD, fused=fused), GradientMonitor(every_n_steps=1)
        fit(module, monitor, GradientClipping(**by), **scaled(init_scale=scale))
        record = monitor.record
        found.append((weights(module).numpy(), record.series("grad_norm/total").value, record.series("grad_norm/clipped").value))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-3)
    assert (found[1][2] <= found[1][1] + 1e-4).all()


def test_a_step_that_the_scaler_skips_is_counted_and_is_no_incident() -> None:
    module, doctor, clipping = Plain(), Doctor(every_n_steps=1), GradientClipping(percentile=50)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    fit(module, doctor, clipping, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    skipped = doctor.record.series("scaler/skipped").value
    assert skipped[-1] == np.log2(2.0**40 / scaler.get_scale()) > 2
    assert doctor.record.series("scaler/scale").value[-1] == scaler.get_scale()
    assert "nonfinite" not in doctor.record.facts
    assert not [f for f in doctor.diagnosis.findings if f.rule == "non-finite"]
    assert len(clipping.state_dict()["norms"][0]) == clipping.steps - skipped[-1]
    assert weights(module).isfinite().all()


def test_manual_optimisation_clips_each_optimizer_on_its_own() -> None:
    class Two(Adversarial):
        norms: list[float]

        def clip_gradients(self, *args: Any, **kwargs: Any) -> None:
            pass

        def on_before_optimizer_step(self, optimizer: Any) -> None:  # runs after those of callbacks
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self.norms.append(float(torch.cat([g.reshape(-1) for g in gradients]).norm()))

    module = Two()
    module.norms = []
    fit(module, GradientClipping(norm=0.05), monitor := GradientMonitor(every_n_steps=1))
    assert len(module.norms) == 32
    assert max(module.norms) <= 0.0501
    both = np.array(module.norms).reshape(16, 2)
    np.testing.assert_allclose(monitor.record.series("grad_norm/clipped").value, np.hypot(*both.T), rtol=1e-3)


def test_monitors_measure_before_it_wherever_it_stands() -> None:
    totals = []
    for turned in (False, True):
        pair: list[Any] = [GradientMonitor(every_n_steps=1), GradientClipping(norm=0.01)]
        fit(Plain(), *(reversed(pair) if turned else pair))
        record = pair[0].record
        totals.append(record.series("grad_norm/total").value)
        np.testing.assert_allclose(record.series("grad_norm/clipped").value, 0.01, rtol=1e-3)
        np.testing.assert_allclose(record.series("clip/ratio").value, 0.01 / totals[-1], rtol=1e-3)
        assert record.facts["clipping"] == {"by": "norm", "threshold": 0.01, "percentile": None, "steps": 16, "share": 1.0}
    np.testing.assert_array_equal(*totals)


def test_sparse_gradients_are_clipped() -> None:
    tight: list[dict[str, Any]] = [{"norm": 1e-3}, {"value": 1e-4}]
    for by in tight:
        module = Plain(Bag())
        fit(module, clipping := GradientClipping(**by), monitor := GradientMonitor(every_n_steps=1))
        assert clipping.share == 1
        assert (monitor.record.series("grad_norm/clipped").value <= 1.1e-3).all()


def test_gradients_that_are_not_finite_are_left_as_they_are() -> None:
    for by in BY:
        clipping, parameter = GradientClipping(**by), nn.Parameter(torch.zeros(3))
        optimizer = torch.optim.SGD([parameter], lr=1)
        module = Plain()
        module.trainer = lightning.Trainer(**SETTINGS)
        parameter.grad = torch.tensor([1.0, torch.inf, -5.0])
        clipping.on_before_optimizer_step(module.trainer, module, optimizer)
        assert parameter.grad.tolist() == [1.0, torch.inf, -5.0]


def test_its_state_resumes(tmp_path: Path) -> None:
    whole, module = GradientClipping(percentile=30), Plain()
    fit(module, whole)
    first, resumed = GradientClipping(percentile=30), GradientClipping(percentile=30)
    trainer = fit(Plain(), first, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    second, trainer = Plain(), lightning.Trainer(**SETTINGS, callbacks=[resumed])
    trainer.fit(second, loader(), ckpt_path=tmp_path / "half.ckpt")
    assert torch.equal(weights(second), weights(module))
    assert (resumed.threshold, resumed.share, resumed.steps) == (whole.threshold, whole.share, whole.steps)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(resumed)))
    assert twin.share == whole.share


def test_it_refuses_to_clip_beside_the_trainer() -> None:
    with pytest.raises(ValueError, match=r"gradient_clip_val=0\.5 of the Trainer would both clip: set gradient_clip_val=None"):
        fit(Plain(), GradientClipping(norm=1.0), gradient_clip_val=0.5)


def test_without_arguments_it_takes_the_percentile_of_the_paper() -> None:
    assert GradientClipping().percentile == 10


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one of norm, value and percentile, got \{'norm': 1.0, 'value': 2.0\}"):
        GradientClipping(norm=1.0, value=2.0)
    with pytest.raises(ValueError, match="percentile must be from 0 to 100, got 101"):
        GradientClipping(percentile=101)
    with pytest.raises(ValueError, match="norm must be a positive number, got 0"):
        GradientClipping(norm=0)
    with pytest.raises(ValueError, match="window must be a positive number of steps, got 0"):
        GradientClipping(percentile=10, window=0)


def test_sharded_parameters_are_refused() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.zeros(3)
    parameter._fsdp_flattened = True  # type: ignore[attr-defined]
    trainer: Any = None
    module: Any = None
    with pytest.raises(RuntimeError, match="does not work on sharded parameters; use gradient_clip_val of the Trainer"):
        GradientClipping(norm=1.0).on_before_optimizer_step(trainer, module, torch.optim.SGD([parameter]))


@pytest.mark.slow
def test_the_command_line_offers_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "callbacks=clipping", "trainer.max_epochs=1", "data.batch_size=256", "fail_on=error"]) in (0, 1)
    assert any('"clipping"' in file.read_text() for file in Path("outputs").rglob("events.jsonl"))
    assert main(["train", "callbacks=clipping", "trainer.gradient_clip_val=1"]) == 2
    assert "would both clip" in capsys.readouterr().err
