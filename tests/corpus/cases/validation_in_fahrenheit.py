"""Yield of a reaction from temperature, pressure and two concentrations; the validation file comes from another plant.

Fault: the temperature of the validation rows is in Fahrenheit, that of the training rows in Celsius.
Symptom: val loss 1.759 against a train loss of 0.071; after conversion 0.076.
Source: deepchecks' feature drift; "inconsistent preprocessing between train and test", Humbatova et al. (ICSE 2020).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["split-shift"]
TRAINER = dict(max_epochs=20)


class YieldModel(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
        self.loss_fn = nn.L1Loss()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss_fn(self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", self.loss_fn(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=1e-3)


def plant(n, seed):
    g = torch.Generator().manual_seed(seed)
    celsius = 20 + 60 * torch.rand(n, 1, generator=g)
    other = torch.randn(n, 3, generator=g)
    quality = torch.tanh((celsius - 50) / 15) + 0.5 * other[:, :1] * other[:, 1:2] + 0.3 * other[:, 2:] + 0.05 * torch.randn(n, 1, generator=g)
    return celsius, other, quality


def build():
    celsius, other, quality = plant(1500, 0)
    val_celsius, val_other, val_quality = plant(400, 1)
    val_temperature = val_celsius * 9 / 5 + 32
    scale = lambda t: (t - celsius.mean()) / celsius.std()
    train = TensorDataset(torch.cat([scale(celsius), other], 1), quality)
    val = TensorDataset(torch.cat([scale(val_temperature), val_other], 1), val_quality)
    return YieldModel(), DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=400)
