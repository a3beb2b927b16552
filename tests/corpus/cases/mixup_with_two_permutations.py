"""Mixup training on digits: inputs and targets are blended with those of a random partner.

Fault: the partner is drawn twice, once for the inputs and once for the targets, and the mixing weight is 0 to 0.5 for the own sample:
most of the target belongs to an image that is not in the mixture.
Symptom: val accuracy 0.448, train loss 2.302; with one permutation 0.899 and 0.698.
Source: Zhang et al. 2018 (mixup) as ported wrongly in several repositories; DeepCrime operator TCL.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["misaligned-labels", "cannot-overfit-batch", "underfitting", "loss-not-decreasing"]
TRAINER = dict(max_epochs=15)


class MixupNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))
        self.loss = nn.CrossEntropyLoss()

    def training_step(self, batch, batch_idx):
        x, y = batch
        own = 0.3 * torch.rand(1, device=x.device)
        partner = torch.randperm(len(x), device=x.device)
        x = own * x + (1 - own) * x[partner]
        partner = torch.randperm(len(x), device=x.device)
        scores = self.net(x)
        loss = own * self.loss(scores, y) + (1 - own) * self.loss(scores, y[partner])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        scores = self.net(x)
        self.log("val_loss", self.loss(scores, y))
        self.log("val_acc", (scores.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (MixupNet(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
