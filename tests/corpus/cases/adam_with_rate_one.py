"""A small CNN on digits with Adam.

Fault: lr=1.0, a value for Adadelta, was kept when the optimizer was changed to Adam.
Symptom: val accuracy 0.098, first epochs' losses in the hundreds and more, then near ln 10 = 2.30: 2.391; with 2e-3 0.874.
Source: pytorch/examples MNIST uses Adadelta(lr=1.0); StackOverflow 51520143; DeepFD's learning-rate class.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

RULES = ["learning-rate-too-high", "dead-units", "loss-not-decreasing", "diverging-loss", "prediction-collapse", "exploding-gradient"]
TRAINER = dict(max_epochs=6)


class Cnn(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch["x"]), batch["y"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch["x"])
        self.log("val_loss", nn.functional.cross_entropy(out, batch["y"]))
        self.log("val_acc", (out.argmax(1) == batch["y"]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1.0)


def build():
    d = load_digits()
    rows = [{"x": torch.tensor(i[None] / 16).float(), "y": int(t)} for i, t in zip(d.images, d.target)]
    return Cnn(), DataLoader(rows[:1400], batch_size=50, shuffle=True), DataLoader(rows[1400:], batch_size=397)
