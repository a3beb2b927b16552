"""Two moons; the last layer is created when it is needed.

Fault: nn.Linear(32, 2) is built inside forward(), so each call has new random weights that nobody trains.
Symptom: the loss wanders around 0.700, val accuracy 0.505; built in __init__ 0.975.
Source: pytorch forums and StackOverflow 62166719-like ("layer defined in forward does not learn").
"""
import lightning as L
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["missing-from-optimizer", "cannot-overfit-batch", "loss-not-decreasing", "underfitting"]
TRAINER = dict(max_epochs=8)


class Moons(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.out = None

    def forward(self, x):
        out = nn.Linear(32, 2)
        return out(self.body(x))

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


def build():
    x, y = make_moons(1000, noise=0.15, random_state=0)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y)
    return (Moons(), DataLoader(TensorDataset(x[:800], y[:800]), batch_size=40, shuffle=True),
            DataLoader(TensorDataset(x[800:], y[800:]), batch_size=200))
