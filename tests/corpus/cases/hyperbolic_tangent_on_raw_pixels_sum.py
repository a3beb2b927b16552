"""An autoencoder of 4 x 4 patches with values from 1 to 7, its squared error summed over the pixels by hand.

Fault: a tanh follows the last layer, but most pixels are above 1.
Symptom: every pixel is copied as 1.
Source: autoencoder tutorials for inputs from -1 to 1 with other data.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["output-range-mismatch", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=6)


class Patches(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 6), nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 16), nn.Tanh())

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = (self.net(x) - x).pow(2).sum(1).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_error", ((self.net(x) - x) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    x = 4 + 3 * torch.tanh(torch.randn(1800, 5, generator=g) @ torch.randn(5, 16, generator=g))
    y = torch.zeros(1800)
    data = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 1400), (1400, 1800))]
    return Patches(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
