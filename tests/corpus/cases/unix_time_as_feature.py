"""Energy use of a building from a time stamp, temperature and occupancy: a regression on three columns.

Fault: the time stamp goes in as seconds since 1970 (1.7e9) beside columns of order one.
Symptom: val loss 3.85e+06 (target variance 1); with the columns standardised 0.013.
Source: StackOverflow 59325381 and 48251943 (raw features of very different scale); the PRE class of DeepFD.
"""
import lightning as L
import torch
from torch import nn
from torch.nn.functional import huber_loss
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["unnormalized-input", "diverging-loss", "initial-loss", "learning-rate-too-high", "exploding-gradient", "loss-not-decreasing"]
TRAINER = dict(max_epochs=10)


class Energy(L.LightningModule):
    def __init__(self, width=32):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1))

    def forward(self, row):
        return self.layers(row).squeeze(1)

    def training_step(self, batch, _):
        row, use = batch
        loss = huber_loss(self(row), use)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return {"loss": loss}

    def validation_step(self, batch, _):
        row, use = batch
        self.log("val_loss", huber_loss(self(row), use))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 2e-3)


def build():
    g = torch.Generator().manual_seed(4)
    when = 1.70e9 + 3.0e6 * torch.rand(1600, generator=g, dtype=torch.float64)
    outside, people = torch.randn(1600, generator=g), torch.randn(1600, generator=g)
    use = 0.6 * outside**2 + 0.7 * people - 0.6 + 0.1 * torch.randn(1600, generator=g)
    rows = torch.stack([when.float(), outside, people], 1)
    train, val = random_split(TensorDataset(rows, use), [1300, 300], generator=g)
    return Energy(), DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=300)
