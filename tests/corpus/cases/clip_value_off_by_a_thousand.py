"""Text-like sequence regression with SGD and gradient clipping.

Fault: gradient_clip_val is 1e-3 where 1.0 was meant: every step is cut to a thousandth of the norm it should have.
Symptom: val loss 0.833 (target variance 1); with 1.0 0.083.
Source: gradient clipping questions in Lightning discussions (gradient_clip_val too small); SCH class of published faults.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["clipping-dominates", "learning-rate-too-low", "underfitting"]
TRAINER = dict(max_epochs=8, gradient_clip_val=1e-3)


class SeqRegressor(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 24, batch_first=True)
        self.out = nn.Linear(24, 1)

    def forward(self, x):
        return self.out(self.gru(x)[1][-1]).squeeze(-1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)


def series(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 12, 4, generator=g)
    y = x[:, -4:, 0].sum(1) / 2 + 0.5 * torch.tanh(x[:, -1, 1])
    return TensorDataset(x, y / y.std())


def build():
    return SeqRegressor(), DataLoader(series(1500, 0), batch_size=50, shuffle=True), DataLoader(series(400, 1), batch_size=400)
