"""Two parameter groups: the backbone learns with a fraction of the head's learning rate.

Fault: the fraction is an integer division (lr * (1 // 10)), so the backbone's learning rate is 0 and it never changes.
Symptom: val loss 0.891; with 1 / 10 0.245.
Source: Python 2 to 3 style slips; SageMaker's UnchangedTensor; freeze-by-accident reports (GRA class).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["frozen-parameter"]
TRAINER = dict(max_epochs=12)


class TwoRates(L.LightningModule):
    def __init__(self, lr=2e-2):
        super().__init__()
        self.lr = lr
        self.backbone = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 8), nn.Tanh())
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.backbone(x))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam([
            {"params": self.backbone.parameters(), "lr": self.lr * (1 // 10)},
            {"params": self.head.parameters(), "lr": self.lr},
        ])


def waves(n, seed):
    x = 1.5 * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (torch.sin(2 * x[:, :1]) + x[:, 1:2] * torch.cos(x[:, 2:])) / 1.2)


def build():
    return TwoRates(), DataLoader(waves(1500, 0), batch_size=50, shuffle=True), DataLoader(waves(400, 1), batch_size=400)
