"""Digits with Trainer(accumulate_grad_batches=4, precision="bf16-mixed") and clipping at 2 that is rarely reached.

Looks odd: three of four batches change nothing, numbers are coarse, the last window of an epoch is shorter. It learns: val accuracy
0.912.
Guards accumulation-mismatch, missing-zero-grad, clipping-dominates, frozen-parameter.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10, accumulate_grad_batches=4, precision="bf16-mixed", gradient_clip_val=2.0)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, batch_size=24)]


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build(batch_size=16):
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Digits(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=batch_size, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
