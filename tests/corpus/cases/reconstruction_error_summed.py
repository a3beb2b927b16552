"""Denoising autoencoder for 8 x 8 digits with momentum SGD; the reconstruction error is a sum over pixels and batch.

Fault: ((x_hat - x) ** 2).sum() with a learning rate meant for the mean: the gradient is 64 * 64 times too long.
Symptom: val MSE NaN (no better than a blank); with the mean over pixels and batch 0.013.
Source: TheDeepChecker's loss-reduction check; StackOverflow 53332663; pytorch forums (size_average=False).
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

RULES = ["sum-reduction", "non-finite", "diverging-loss", "exploding-gradient", "learning-rate-too-high", "dead-units", "loss-not-decreasing"]
TRAINER = dict(max_epochs=15)


class Denoiser(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        return self.net(x)

    def training_step(self, x, batch_idx):
        noisy = x + 0.2 * torch.randn_like(x)
        loss = ((self(noisy) - x) ** 2).sum()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, x, batch_idx):
        self.log("val_mse", ((self(x) - x) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)


def build():
    pixels = torch.tensor(load_digits().data / 16).float()
    return Denoiser(), DataLoader(pixels[:1400], batch_size=64, shuffle=True), DataLoader(pixels[1400:], batch_size=397)
