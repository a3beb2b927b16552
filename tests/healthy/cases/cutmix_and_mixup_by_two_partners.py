"""Digits with cutmix by one permutation and then mixup by another; no validation loader holds the two apart.

Looks odd: each output depends on three samples of the batch and is held against three labels; a batch cannot be memorised.
It learns: the accuracy on the plain batches, logged from the training step, reaches 0.94.
Guards misaligned-labels, sample-leakage, conflicting-labels, cannot-overfit-batch, underfitting.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("plain_acc", ">", 0.88)
VARIANTS = [dict(), dict(seed=1, width=96)]


class Mixed(L.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))

    def training_step(self, batch, batch_idx):
        x, y = batch
        with torch.no_grad():
            self.log("plain_acc", (self.net(x).argmax(1) == y).float().mean(), on_step=False, on_epoch=True)
        target = nn.functional.one_hot(y, 10).float()
        first, second = torch.randperm(len(x)), torch.randperm(len(x))
        rows = int(torch.randint(0, 5, ()))
        cut = torch.cat([x[first, : 8 * rows], x[:, 8 * rows :]], 1)
        target = (1 - rows / 8) * target + rows / 8 * target[first]
        own = 0.5 + 0.5 * float(torch.rand(()))
        return nn.functional.cross_entropy(self.net(own * cut + (1 - own) * cut[second]), own * target + (1 - own) * target[second])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build(width=64):
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return Mixed(width), DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True), None
