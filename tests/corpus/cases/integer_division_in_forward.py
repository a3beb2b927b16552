"""Digits arrive as integers 0-15; forward() scales them before two convolutions.

Fault: `images // 16` (integer division) turns every pixel into 0.
Symptom: the loss stays at ln 10, val accuracy 0.098; with `/ 16` 0.882.
Source: StackOverflow (integer division of image arrays gives black images); Karpathy's zero-input baseline.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["input-independent", "no-gradient", "loss-not-decreasing", "cannot-overfit-batch", "prediction-collapse", "misaligned-labels",
         "dead-units"]
TRAINER = dict(max_epochs=5)


class IntegerDigits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 16, 10)

    def forward(self, images):
        x = (images // 16).float().unsqueeze(1)
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        return self.fc(torch.relu(self.conv2(x)).flatten(1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.images).long().clamp(max=15), torch.tensor(d.target)
    return (IntegerDigits(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
