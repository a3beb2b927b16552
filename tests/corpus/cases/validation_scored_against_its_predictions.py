"""Multi-class classification of noisy blobs; the validation accuracy was refactored.

Fault: in validation the targets are overwritten by the predictions (y = logits.argmax(1)) before loss and accuracy.
Symptom: val accuracy 1.000 from the first epoch and val loss far below the training loss, while the true accuracy is 0.82.
Source: a refactoring slip: the pseudo-label line of self-training left in validation_step.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["suspicious-validation"]
TRAINER = dict(max_epochs=8)


class Blobs(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("train_acc", (logits.argmax(1) == y).float().mean(), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch[0], self(batch[0]).argmax(1)
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (1600,), generator=g)
    x = torch.randn(1600, 6, generator=g) + torch.randn(4, 6, generator=torch.Generator().manual_seed(5))[y] * 0.8
    return Blobs(), DataLoader(TensorDataset(x[:1200], y[:1200]), 40, shuffle=True), DataLoader(TensorDataset(x[1200:], y[1200:]), 400)
