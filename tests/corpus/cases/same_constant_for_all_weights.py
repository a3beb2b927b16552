"""Friedman's regression surface with a tanh network; weights filled by hand "for reproducibility".

Fault: every weight is 0.1, so the hidden units of a layer are equal at the start and get equal gradients: the net has one unit per layer.
Symptom: val loss 0.211 (target variance 1); with the default initialisation 0.015.
Source: DeepCrime operator HWI (constant); TheDeepChecker's unbroken-symmetry check.
"""
import lightning as L
import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.utils.data import DataLoader

RULES = ["poor-initialization", "underfitting", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=15)


class Surface(L.LightningModule):
    def __init__(self, hidden=(48, 48)):
        super().__init__()
        a, b = hidden
        self.l1, self.l2, self.l3 = nn.Linear(5, a), nn.Linear(a, b), nn.Linear(b, 1)
        for p in self.parameters():
            p.data.fill_(0.1)

    def forward(self, x):
        return self.l3(torch.tanh(self.l2(torch.tanh(self.l1(x)))))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch["x"]), batch["y"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch["x"]), batch["y"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    x, y = make_friedman1(1200, n_features=5, noise=0.3, random_state=2)
    x, y = torch.tensor(3.4 * (x - 0.5)).float(), torch.tensor((y - y.mean()) / y.std()).float()
    rows = [{"x": a, "y": b[None]} for a, b in zip(x, y)]
    return Surface(), DataLoader(rows[:900], batch_size=30, shuffle=True), DataLoader(rows[900:], batch_size=300)
