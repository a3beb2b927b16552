"""Adversarial-like consistency: the training step predicts once in eval mode without gradient, then goes back to train mode.

Looks odd: self.eval() and self.train() are called in every training step, batch norm sees both modes. It learns: val accuracy 0.919.
Guards wrong-mode, sample-leakage, no-gradient.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, weight=0.0)]


class Consistent(L.LightningModule):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.net = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.eval()
        with torch.no_grad():
            steady = self.net(x).softmax(1)
        self.train()
        scores = self.net(x)
        loss = nn.functional.cross_entropy(scores, y) + self.weight * nn.functional.mse_loss(scores.softmax(1), steady)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build(weight=1.0):
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Consistent(weight), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
