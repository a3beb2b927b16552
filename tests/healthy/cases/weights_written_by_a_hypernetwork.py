"""A hypernetwork writes the weights of a small regressor from a task vector.

Looks odd: functional layers with generated weights, no module carries them.
It learns: val loss 0.003, the targets' variance being about 0.8.
Guards oscillating-loss (the last swings are nothing beside what was lost), misaligned-labels.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=15)
REACHES = ("val_loss", "<", 0.05)
VARIANTS = [dict()]


class Hyper(L.LightningModule):
    def __init__(self, hidden=12):
        super().__init__()
        self.hidden = hidden
        self.hyper = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 3 * hidden + 1))

    def forward(self, task, x):
        w = self.hyper(task)
        w1, b1, w2, b2 = w.split([self.hidden, self.hidden, self.hidden, 1], 1)
        h = torch.tanh(x.unsqueeze(1) * w1 + b1)
        return (h * w2).sum(1) + b2.squeeze(1)

    def training_step(self, batch, batch_idx):
        task, x, y = batch
        loss = F.mse_loss(self(task, x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        task, x, y = batch
        self.log("val_loss", F.mse_loss(self(task, x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    g = torch.Generator().manual_seed(0)
    task = 2 * torch.rand(1800, 2, generator=g) - 1
    x = 4 * torch.rand(1800, generator=g) - 2
    y = (1 + task[:, 0]) * torch.sin(x + 2 * task[:, 1])
    return (Hyper(), DataLoader(TensorDataset(task[:1500], x[:1500], y[:1500]), 50, shuffle=True),
            DataLoader(TensorDataset(task[1500:], x[1500:], y[1500:]), 300))
