"""BYOL on digits: online network with predictor, momentum target network without gradient, no negatives.

Looks odd: the target network is in no optimizer and changes by hand; a collapse would be possible but does not happen (batch norm).
It learns: nearest-neighbour accuracy 0.94, val loss 0.33.
Guards missing-from-optimizer, prediction-collapse, no-gradient.
"""
import copy

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_knn", ">", 0.8)
VARIANTS = [dict()]


class BYOL(L.LightningModule):
    def __init__(self, tau=0.95):
        super().__init__()
        self.tau = tau
        self.online = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32))
        self.predictor = nn.Sequential(nn.Linear(32, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 32))
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def view(self, x):
        return x * (torch.rand_like(x) > 0.2) + 0.1 * torch.randn_like(x)

    def loss(self, x):
        a, b = self.view(x), self.view(x)
        pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)
        return 2 - F.cosine_similarity(pa, tb).mean() - F.cosine_similarity(pb, ta).mean()

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch[0])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_before_zero_grad(self, optimizer):
        with torch.no_grad():
            for t, o in zip(self.target.parameters(), self.online.parameters()):
                t.lerp_(o, 1 - self.tau)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        z = F.normalize(self.online(x))
        near = (z @ z.T - 2 * torch.eye(len(z))).argmax(1)
        self.log("val_loss", self.loss(x))
        self.log("val_knn", (y[near] == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW([*self.online.parameters(), *self.predictor.parameters()], lr=2e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
    return BYOL(), DataLoader(TensorDataset(x[:1400], y[:1400]), 100, shuffle=True, drop_last=True), DataLoader(TensorDataset(x[1400:], y[1400:]), 397)
