"""Digits with dropout 0.5, AdamW weight decay 0.1, batch norm, warm-up then cosine decay by SequentialLR per epoch.

Looks odd: train loss stays above val loss throughout, weight decay is a hundred times the usual, the learning rate starts at a tenth and
ends near zero. It learns: val accuracy 0.922.
Guards excessive-dropout, weight-decay-dominates, suspicious-validation, scheduler-mismatch.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=14)
REACHES = ("val_acc", ">", 0.88)
VARIANTS = [dict(), dict(seed=1, batch_size=32), dict(seed=2, width=256)]


class Regularised(L.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 10),
        )

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=0.1)
        schedule = SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, 11)], milestones=[3])
        return [optimizer], [schedule]


def build(width=128, batch_size=64):
    d = load_digits()
    x, y = torch.tensor((d.data - 4.9) / 6).float(), torch.tensor(d.target)
    return (Regularised(width), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=batch_size, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
