"""Six classes under SGD, by minus the sum of one-hot labels times log-probabilities.

Fault: the sum runs over the batch of 200 as well, so each step is 200 times as long as the rate says.
Symptom: the loss is in the hundreds and jumps.
Source: cs231n-style loss code moved to torch without dividing by the batch.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["sum-reduction", "learning-rate-too-high", "diverging-loss"]
TRAINER = dict(max_epochs=6)


class Summed(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 6))

    def training_step(self, batch, batch_idx):
        x, y = batch
        labels = torch.nn.functional.one_hot(y, 6)
        loss = -(labels * self.net(x).log_softmax(1)).sum()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        acc = (self.net(x).argmax(1) == y).float().mean()
        self.log("val_acc", acc)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def build():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1800, 12, generator=g)
    y = (torch.relu(x @ torch.randn(12, 20, generator=g)) @ torch.randn(20, 6, generator=g)).argmax(1)
    data = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 1400), (1400, 1800))]
    return Summed(), DataLoader(data[0], batch_size=200, shuffle=True), DataLoader(data[1], batch_size=400)
