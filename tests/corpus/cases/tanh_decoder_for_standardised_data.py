"""Autoencoder of daily load curves (24 values, standardised, so between about -4 and 4).

Fault: the decoder ends in tanh, as for images in [-1, 1], and cannot reach values beyond one.
Symptom: val loss 0.197; with a linear output 0.011.
Source: StackOverflow 48934338 and 59278771 (autoencoder output activation does not fit the data range); DeepDiagnosis "out of range".
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["output-range-mismatch", "underfitting", "saturated-units"]
TRAINER = dict(max_epochs=15)


class AutoEncoder(L.LightningModule):
    def __init__(self, code=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(24, 32), nn.ELU(), nn.Linear(32, code))
        self.decoder = nn.Sequential(nn.Linear(code, 32), nn.ELU(), nn.Linear(32, 24))

    def forward(self, curve):
        return torch.tanh(self.decoder(self.encoder(curve)))

    def training_step(self, curve, batch_idx):
        loss = nn.functional.mse_loss(self(curve), curve)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, curve, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(curve), curve))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    g = torch.Generator().manual_seed(2)
    hour = torch.arange(24.0) / 24 * 6.2832
    weight = torch.distributions.Gamma(1.2, 1.0)
    torch.manual_seed(2)
    curves = weight.sample((1500, 1)) * torch.sin(hour) + weight.sample((1500, 1)) * torch.cos(2 * hour) + 0.1 * torch.randn(1500, 24, generator=g)
    curves = (curves - curves.mean(0)) / curves.std(0)
    return AutoEncoder(), DataLoader(curves[:1200], batch_size=40, shuffle=True), DataLoader(curves[1200:], batch_size=300)
