"""Strength of concrete from its recipe; the laboratory's table and the recipes were joined by position.

Fault: the header of one file was read as a row, so recipe i stands beside the strength of specimen i + 1; specimens are independent.
Symptom: val loss 0.886, no better than the mean of the targets; with its own strength 0.025.
Source: off-by-one joins; Northcutt et al. 2021 (label errors); permutation tests of Ojala and Garriga 2010.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["misaligned-labels", "overfitting", "underfitting", "loss-not-decreasing"]
TRAINER = dict(max_epochs=10)


class Strength(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.huber_loss(self.net(batch["recipe"]).squeeze(1), batch["strength"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch["recipe"]).squeeze(1), batch["strength"]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=4e-3)


def specimens(n, seed, late=1):
    g = torch.Generator().manual_seed(seed)
    recipe = torch.randn(n + 1, 8, generator=g)
    strength = 1.2 * recipe[:, 0] - 0.8 * (recipe[:, 1] + recipe[:, 2]).tanh() + 0.5 * recipe[:, 3] * recipe[:, 4]
    strength = (strength + 0.2 * torch.randn(n + 1, generator=g)) / 1.6
    return [{"recipe": recipe[i], "strength": strength[i + late]} for i in range(n)]


def build():
    return Strength(), DataLoader(specimens(900, 0), batch_size=30, shuffle=True), DataLoader(specimens(300, 1), batch_size=300)
