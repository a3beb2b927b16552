"""Digits with mixup: inputs and targets blended with one permutation; validation is not blended.

Looks odd: train loss stays near 1 while val loss is far lower, train accuracy is meaningless, a batch cannot be memorised.
It learns: val accuracy 0.897.
Guards suspicious-validation, cannot-overfit-batch, underfitting, misaligned-labels, sample-leakage.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_acc", ">", 0.88)
VARIANTS = [dict(), dict(seed=1, alpha=0.4)]


class Mixup(L.LightningModule):
    def __init__(self, alpha):
        super().__init__()
        self.share = torch.distributions.Beta(alpha, alpha)
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))

    def training_step(self, batch, batch_idx):
        x, y = batch
        own, partner = float(self.share.sample()), torch.randperm(len(x))
        scores = self.net(own * x + (1 - own) * x[partner])
        loss = own * nn.functional.cross_entropy(scores, y) + (1 - own) * nn.functional.cross_entropy(scores, y[partner])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build(alpha=1.0):
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Mixup(alpha), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
