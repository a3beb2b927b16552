"""An MLP with batch norm on the 8x8 digits, 280 batches.

Fault: momentum=0.001, Keras's 0.999 taken over as the weight of the new batch: the running averages are still mostly mean 0 and variance 1.
Symptom: validation loss 1.3 and accuracy 0.74 beside a training loss of 0.08; with momentum=0.1 0.13 and 0.96.
Source: ludwig-ai/ludwig#2100 and kazuto1011/deeplab-pytorch#79, on the two conventions; pytorch/pytorch#15298 for a momentum of 0.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["batchnorm-small-batch", "overfitting", "suspicious-validation"]
TRAINER = dict(max_epochs=10)


def block(a, b):
    return [nn.Linear(a, b), nn.BatchNorm1d(b, momentum=0.001), nn.ReLU()]


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*block(64, 64), *block(64, 64), nn.Linear(64, 10))

    def step(self, batch, stage):
        scores = self.net(batch[0])
        loss = nn.functional.cross_entropy(scores, batch[1])
        self.log_dict({f"{stage}_loss": loss, f"{stage}_acc": (scores.argmax(1) == batch[1]).float().mean()}, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def build():
    digits = load_digits()
    rows = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    data = TensorDataset(torch.tensor(digits.data / 8 - 1, dtype=torch.float32)[rows], torch.tensor(digits.target)[rows])
    train, held = torch.utils.data.Subset(data, range(1400)), torch.utils.data.Subset(data, range(1400, 1797))
    return Digits(), DataLoader(train, batch_size=50, shuffle=True), DataLoader(held, batch_size=400)
