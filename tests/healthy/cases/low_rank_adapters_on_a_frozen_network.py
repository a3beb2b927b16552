"""Adaptation of a frozen network by low-rank updates: W + B A with B starting at zero.

Looks odd: most parameters are frozen, half of the trainable ones are exactly zero at the start, and the other half gets a zero gradient in
the first step. It learns: val accuracy 0.884.
Guards no-gradient, poor-initialization, frozen-parameter, dead-units, missing-from-optimizer.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, rank=3, lr=5e-3), dict(seed=2, width=256)]


class Adapted(nn.Module):
    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + x @ self.a.T @ self.b.T


class LoRA(L.LightningModule):
    def __init__(self, rank, width, lr):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(Adapted(nn.Linear(64, width), rank), nn.ReLU(), Adapted(nn.Linear(width, 10), rank))

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)


def build(rank=4, width=128, lr=1e-2):
    d = load_digits()
    x, y = torch.tensor((d.data - 4.9) / 6).float(), torch.tensor(d.target)
    return (LoRA(rank, width, lr), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
