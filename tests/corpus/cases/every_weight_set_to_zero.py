"""Two moons with an MLP whose weights are initialised by a helper function.

Fault: the helper sets all weights and biases to zero, so all units are equal and no gradient passes the first time, nor later.
Symptom: the loss stays at ln 2, val accuracy 0.505; without the helper 0.985.
Source: DeepCrime operator HWI (zeros); StackOverflow 50769735; NeuraLint's constant initialisation.
"""
import lightning as L
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["poor-initialization", "no-gradient", "loss-not-decreasing", "frozen-parameter", "cannot-overfit-batch", "input-independent",
         "prediction-collapse", "dead-units", "vanishing-gradient"]
TRAINER = dict(max_epochs=15)


def init_weights(module):
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)


class Moons(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.mlp.apply(init_weights)
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x):
        return self.mlp(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self(x)
        self.log("val_loss", self.loss(out, y))
        self.log("val_acc", ((out > 0) == (y > 0.5)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    x, y = make_moons(1000, noise=0.15, random_state=0)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y).float().unsqueeze(1)
    return (Moons(), DataLoader(TensorDataset(x[:800], y[:800]), batch_size=40, shuffle=True),
            DataLoader(TensorDataset(x[800:], y[800:]), batch_size=200))
