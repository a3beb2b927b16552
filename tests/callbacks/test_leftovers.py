"""What the loss of one optimizer leaves in the gradients of another, in trainings of two players."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import Doctor


class Players(lightning.LightningModule):
    """A generator and a discriminator, trained by one of several recipes."""

    def __init__(self, recipe: str) -> None:
        super().__init__()
        self.automatic_optimization, self.recipe = False, recipe
        self.maker, self.judge = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        (real,) = batch
        optimizers: Any = self.optimizers()
        getattr(self, self.recipe)(real, *optimizers)

    def judged(self, real: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = (1 - self.judge(real)).square().mean() + (1 + self.judge(self.maker(real.flip(0)).detach())).square().mean()
        return loss

    def made(self, real: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = (1 - self.judge(self.maker(real.flip(0)))).square().mean()
        return loss

    def cleared_late(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        for optimizer, loss in ((judge, self.judged), (maker, self.made)):
            self.manual_backward(loss(real))
            optimizer.step()
            optimizer.zero_grad()

    def maker_first(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        for optimizer, loss in ((maker, self.made), (judge, self.judged)):
            self.manual_backward(loss(real))
            optimizer.step()
            optimizer.zero_grad()

    def cleared(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        for optimizer, loss in ((judge, self.judged), (maker, self.made)):
            optimizer.zero_grad()
            self.manual_backward(loss(real))
            optimizer.step()

    def set_to_zero(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        for optimizer, loss in ((judge, self.judged), (maker, self.made)):
            optimizer.zero_grad(set_to_none=False)
            self.manual_backward(loss(real))
            optimizer.step()

    def toggled(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        for optimizer, loss in ((judge, self.judged), (maker, self.made)):
            self.toggle_optimizer(optimizer)
            self.manual_backward(loss(real))
            optimizer.step()
            optimizer.zero_grad()
            self.untoggle_optimizer(optimizer)

    def slower(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        """One loss for both; the gradients of the second accumulate over two passes."""
        for _ in range(2):
            self.manual_backward(self.made(real))
            maker.step()
            maker.zero_grad()
        judge.step()
        judge.zero_grad()

    def together(self, real: torch.Tensor, maker: Any, judge: Any) -> None:
        self.manual_backward(self.made(real) + self.judged(real))
        maker.step()
        judge.step()
        maker.zero_grad()
        judge.zero_grad()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=1e-2) for part in (self.maker, self.judge)]


@pytest.mark.parametrize(
    ("recipe", "found"),
    [
        ("cleared_late", True),
        ("maker_first", True),
        ("cleared", False),
        ("set_to_zero", False),
        ("toggled", False),
        ("slower", False),
        ("together", False),
    ],
)
def test_gradients_that_another_loss_left(recipe: str, found: bool) -> None:
    torch.manual_seed(0)
    doctor = Doctor(probes=False, strict=True)
    loader = DataLoader(TensorDataset(torch.randn(64, 2)), batch_size=4)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(max_epochs=1, accelerator="cpu", callbacks=[doctor], **quiet).fit(Players(recipe), loader)
    foreign = doctor.record.series("zero_grad/foreign").value
    assert np.nanmax(foreign[:, 0]) == 0
    assert (np.nanmedian(foreign[:, 1]) > 0.2) == found
    assert ("T314" in [f.code for f in doctor.diagnosis.findings]) == found


def test_what_is_left_is_a_share_of_the_largest_entry() -> None:
    """The discriminator's gradients just before its second step, computed with and without the generator's loss."""
    torch.manual_seed(0)
    module, seen, real = Players("cleared_late"), [], torch.randn(4, 2)
    optimizers = module.configure_optimizers()
    for optimizer, loss in zip(optimizers[::-1], (module.judged, module.made), strict=True):
        torch.autograd.backward(loss(real))
        optimizer.step()
        optimizer.zero_grad()
    for parts in ([], [module.judged(real)]):
        torch.autograd.backward(parts)
        seen.append(max(float(p.grad.abs().max()) for p in module.judge.parameters() if p.grad is not None))
    doctor = Doctor(probes=False, strict=True)
    torch.manual_seed(0)
    again = Players("cleared_late")
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    loader = DataLoader(TensorDataset(real), batch_size=4)
    lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=[doctor], **quiet).fit(again, loader)
    assert doctor.record.series("zero_grad/foreign").value[0, 1] == pytest.approx(seen[0] / max(seen), rel=1e-5)
