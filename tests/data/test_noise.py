"""Noise on training batches: its size, where it stands and where it does not, and that a run repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnose.data.bundled import Bundled
from diagnose.data.noise import noisy

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


class Seeing(lightning.LightningModule):
    """Keeps the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": []}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen["train"].append(batch[0])
        loss: Tensor = self.layer(batch[0].flatten(1)).mean()
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen["val"].append(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def seen(epochs: int = 1, keep: Path | None = None, resume: Path | None = None, **options: Any) -> dict[str, list[Tensor]]:
    module = Seeing()
    data = Bundled("digits", **{"batch_size": 1000, "normalise": "none", **options})
    trainer = lightning.Trainer(max_epochs=epochs, **QUIET)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None or None)
    if keep:
        trainer.save_checkpoint(keep)
    return module.seen


def test_the_noise_is_in_standard_deviations_of_each_feature() -> None:
    deviation = torch.tensor([[0.5, 2.0, 0.0]])
    x = torch.tensor([[1.0, -3.0, 7.0]]).repeat(40_000, 1)
    added = noisy(x, deviation, (0, 0, 0)) - x
    assert added.std(0).tolist() == pytest.approx([0.5, 2.0, 0.0], rel=0.02)
    assert added.mean(0).tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.04)


def test_training_batches_alone_get_it() -> None:
    clean, noised = seen(), seen(input_noise=0.3)
    width = Bundled("digits", normalise="none").part("train").tensors[0].std(correction=0).item()  # digits are images of one channel
    assert (noised["train"][0] - clean["train"][0]).std().item() == pytest.approx(0.3 * width, rel=0.02)
    assert torch.equal(noised["val"][0], clean["val"][0])
    stored = Bundled("digits", normalise="none", input_noise=0.3)
    assert torch.equal(stored.part("train").tensors[0], Bundled("digits", normalise="none").part("train").tensors[0])


def test_it_is_new_in_each_batch_and_epoch_and_the_same_in_each_run() -> None:
    one, again, other = seen(2, input_noise=1.0), seen(2, input_noise=1.0), seen(2, input_noise=1.0, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one["train"], again["train"], strict=True))
    clean = seen(2)
    added = [(a - b).flatten()[:2000].numpy() for a, b in zip(one["train"], clean["train"], strict=True)]
    assert abs(np.corrcoef(np.stack(added))[np.triu_indices(len(added), 1)]).max() < 0.1
    assert not torch.equal(one["train"][0], other["train"][0])


def test_a_run_that_is_resumed_has_the_noise_that_it_would_have_had(tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 500}
    for noise in (0.0, 0.5):
        seen(1, keep=tmp_path / f"{noise}.ckpt", input_noise=noise, **options)
    whole = [a - b for a, b in zip(*(seen(2, input_noise=n, **options)["train"] for n in (0.5, 0.0)), strict=True)]
    rest = [
        a - b for a, b in zip(*(seen(2, resume=tmp_path / f"{n}.ckpt", input_noise=n, **options)["train"] for n in (0.5, 0.0)), strict=True)
    ]
    assert (len(whole), len(rest)) == (6, 3)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(whole[3:], rest, strict=True))
    assert not torch.allclose(whole[0], rest[0], atol=1e-4)


def test_it_draws_from_no_generator_of_the_run() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    noisy(torch.zeros(3, 2), torch.ones(1, 2), (1, 2, 3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "much"])
def test_a_size_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"data.input_noise must be a number of standard deviations, at least 0, got"):
        Bundled("iris", input_noise=value)
