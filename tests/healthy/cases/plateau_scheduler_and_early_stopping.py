"""Regression with ReduceLROnPlateau and EarlyStopping on keys that exist; the run stops before its last epoch.

Looks odd: the learning rate falls by a hundred in the end and training stops early. It learns: val loss 0.040 (noise 0.04).
Guards monitor-missing, scheduler-mismatch, learning-rate-too-low.
"""
import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=40, callbacks=[EarlyStopping("val/loss", patience=5)])
REACHES = ("val/loss", "<", 0.09)
VARIANTS = [dict(), dict(seed=1, lr=1e-2)]


class Plateau(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss"}}


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=g)
    return TensorDataset(x, torch.sin(1.5 * x[:, :1]) + 0.5 * x[:, 1:] + 0.2 * torch.randn(n, 1, generator=g))


def build(lr=2e-2):
    return Plateau(lr), DataLoader(data(1000, 0), batch_size=50, shuffle=True), DataLoader(data(300, 1), batch_size=300)
