"""Digit recognition; the number of outputs is derived from the data.

Fault: num_classes = max(label), which is one too few when labels start at 0.
Symptom: IndexError "Target 9 is out of bounds" in the sanity check; with + 1 val accuracy 0.866.
Source: pytorch forums and StackOverflow 60022388 (off-by-one class count).
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

RULES = ["wrong-output-size", "invalid-target"]
TRAINER = dict(max_epochs=5)


class DigitMLP(L.LightningModule):
    def __init__(self, num_classes):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch["image"]), batch["label"])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch["image"])
        self.log("val_loss", nn.functional.cross_entropy(out, batch["label"]))
        self.log("val_acc", (out.argmax(1) == batch["label"]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    d = load_digits()
    rows = [{"image": torch.tensor(i / 16).float(), "label": int(t)} for i, t in zip(d.images, d.target)]
    model = DigitMLP(num_classes=int(d.target.max()))
    return model, DataLoader(rows[:1400], batch_size=50, shuffle=True), DataLoader(rows[1400:], batch_size=397)
