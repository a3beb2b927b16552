"""Iris with one output unit and binary cross-entropy, copied from a two-class tutorial.

Fault: the targets are 0, 1 and 2 and go into BCE-with-logits as floats; the problem has three classes and the net one unit.
Symptom: train loss falls to -190.8 (below zero), val accuracy 0.775; with three units and cross-entropy 0.975.
Source: StackOverflow 50079585, 54366935 (binary loss for several classes, DeepFD/NeuraLint sets).
"""
import lightning as L
import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["invalid-target", "wrong-output-size", "diverging-loss"]
TRAINER = dict(max_epochs=25)


class IrisNet(L.LightningModule):
    def __init__(self, units=1):
        super().__init__()
        self.fc1 = nn.Linear(4, 16)
        self.fc2 = nn.Linear(16, units)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))

    def loss(self, out, y):
        return nn.functional.binary_cross_entropy_with_logits(out, y.float().unsqueeze(1))

    def predict(self, out):
        return (out.sigmoid() > 0.5).long().squeeze(1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self(x)
        self.log("val_loss", self.loss(out, y))
        self.log("val_acc", (self.predict(out) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def build():
    x, y = load_iris(return_X_y=True)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y))
    train, val = random_split(data, [110, 40], generator=torch.Generator().manual_seed(1))
    return IrisNet(), DataLoader(train, batch_size=10, shuffle=True), DataLoader(val, batch_size=40)
