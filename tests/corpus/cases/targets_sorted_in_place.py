"""House-price-like regression; the median of the targets is computed on the way to the loaders.

Fault: `y.sort()` sorts the array in place, so prices no longer belong to their houses.
Symptom: val loss 0.934 (target variance 1), no better than the mean; without the sort 0.020.
Source: StackOverflow 52181154 (in-place sort/shuffle of one of two arrays); DeepCrime operator TCL.
"""
import lightning as L
import numpy as np
import torch
from sklearn.datasets import make_regression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["misaligned-labels", "overfitting", "split-shift", "loss-not-decreasing"]
TRAINER = dict(max_epochs=15)


class Price(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch, batch_idx):
        house, price = batch
        loss = nn.functional.mse_loss(self.net(house).squeeze(-1), price)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        house, price = batch
        self.log("val_loss", nn.functional.mse_loss(self.net(house).squeeze(-1), price))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def build():
    x, y = make_regression(1500, 12, n_informative=8, noise=20.0, random_state=0)
    y = (y - y.mean()) / y.std()
    ranked = y
    ranked.sort()
    y = y - ranked[750]  # prices relative to the median
    rows = np.random.default_rng(1).permutation(1500)
    data = TensorDataset(torch.tensor(x[rows]).float(), torch.tensor(y[rows]).float())
    train, val = torch.utils.data.Subset(data, range(1200)), torch.utils.data.Subset(data, range(1200, 1500))
    return Price(), DataLoader(train, batch_size=40, shuffle=True), DataLoader(val, batch_size=300)
