"""Angle of attack from eight pressure taps; the targets are standardised, so half are negative.

Fault: the template's last layer keeps its ReLU, so the output cannot be negative.
Symptom: val loss 0.507 (target variance 1); without the ReLU 0.008.
Source: StackOverflow 44164749, 38648195 (ReLU on the output, DeepLocalize/DeepFD sets); UMLAUT.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["output-range-mismatch", "dead-units", "underfitting", "no-gradient", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=12)


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear, self.act = nn.Linear(n_in, n_out), nn.ReLU()

    def forward(self, x):
        return self.act(self.linear(x))


class Taps(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(Block(8, 32), Block(32, 32), Block(32, 1))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        taps, angle = batch
        loss = nn.functional.mse_loss(self(taps), angle)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        taps, angle = batch
        self.log("val_loss", nn.functional.mse_loss(self(taps), angle))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def wing(n, seed):
    g = torch.Generator().manual_seed(seed)
    angle = torch.randn(n, 1, generator=g)
    place = torch.linspace(-1, 1, 8)
    return TensorDataset(torch.sin(angle * place + place**2) + 0.1 * torch.randn(n, 8, generator=g), angle)


def build():
    return Taps(), DataLoader(wing(1200, 0), batch_size=40, shuffle=True), DataLoader(wing(300, 1), batch_size=300)
