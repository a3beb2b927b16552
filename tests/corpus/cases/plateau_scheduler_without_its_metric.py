"""Regression with ReduceLROnPlateau.

Fault: the scheduler monitors "val_mse", the module logs "val/mse".
Symptom: MisconfigurationException at the end of the first epoch; with the right key val loss 0.494.
Source: Lightning-AI/pytorch-lightning#4454-like reports ("ReduceLROnPlateau conditioned on metric ... which is not available").
"""
import lightning as L
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["monitor-missing"]
TRAINER = dict(max_epochs=12)


class Diabetes(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 24), nn.SELU(), nn.Linear(24, 1))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train/mse", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/mse", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=3e-3)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_mse"}}


def build():
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor((y - y.mean()) / y.std()).float().unsqueeze(1)
    train, val = random_split(TensorDataset(x, y), [342, 100], generator=torch.Generator().manual_seed(0))
    return Diabetes(), DataLoader(train, batch_size=18, shuffle=True), DataLoader(val, batch_size=100)
