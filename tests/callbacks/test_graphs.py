"""Graphs that outlive their step, by what a module keeps of it."""

from __future__ import annotations

from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.callbacks import Doctor, graphs


class Keeper(lightning.LightningModule):
    """Keeps the loss, the output before its last layer, their numbers, or a moving average, of each step."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.kept = what, list[Tensor]()
        self.average = torch.zeros(())
        self.body, self.head = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        hidden = self.body(batch[0])
        loss: Tensor = (self.head(hidden).squeeze(1) - batch[1]).square().mean()
        if self.what == "average":
            self.average = 0.9 * self.average + 0.1 * loss
        self.kept.append({"hidden": hidden, "number": loss.detach()}.get(self.what, loss))
        if self.what in ("average", "latest"):
            del self.kept[:-3]
        return loss

    def on_train_epoch_end(self) -> None:
        if self.what == "epoch":
            self.kept.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def found(what: str, epochs: int = 4, every_n_steps: int = 1) -> tuple[list[float], list[str]]:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(60, 4), torch.randn(60))
    doctor = Doctor(probes=False, every_n_steps=every_n_steps, strict=True)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[doctor], **quiet)  # type: ignore[arg-type]
    trainer.fit(Keeper(what), DataLoader(data, batch_size=6))
    names = [f.where for f in doctor.diagnosis.findings if f.rule == "memory-growth"]
    return doctor.record.series("memory/graphs").value[-1].tolist(), names


@pytest.mark.parametrize("what", ["loss", "hidden", "average"])
def test_graphs_that_are_kept_are_counted_and_found(what: str) -> None:
    counts, where = found(what)
    assert counts == [16, 16]  # of the steps 0 to 12, 15, 19, 24, 30 and 38, those before the epoch of the last
    assert len(where) == 1


@pytest.mark.parametrize("what", ["number", "epoch", "latest"])
def test_what_is_let_go_is_healthy(what: str) -> None:
    assert found(what) == ([0, 16], [])


def test_a_long_run_keeps_a_bounded_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "TOKENS", 10)
    held, of = found("loss")[0]
    assert 5 <= held == of <= 10
