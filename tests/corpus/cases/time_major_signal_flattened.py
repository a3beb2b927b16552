"""Gesture recognition from a sensor window; the recurrent layer gives (time, batch, features), a linear layer sees all steps.

Fault: reshape(batch, -1) on the (time, batch, features) tensor, without a transpose, mixes the samples of a batch.
Symptom: val accuracy 0.248 (chance 0.25); with transpose(0, 1) first 1.000.
Source: Karpathy, "most common neural net mistakes" (view in place of permute); pytorch forums, many.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["sample-leakage", "loss-not-decreasing", "underfitting", "misaligned-labels", "overfitting"]
TRAINER = dict(max_epochs=6)


class Gesture(L.LightningModule):
    def __init__(self, steps=12, hidden=16):
        super().__init__()
        self.rnn = nn.LSTM(3, hidden)
        self.norm = nn.LayerNorm(steps * hidden)
        self.out = nn.Linear(steps * hidden, 4)

    def forward(self, window):
        h, _ = self.rnn(window.transpose(0, 1))
        return self.out(self.norm(h.reshape(window.size(0), -1)))

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


def gestures(n, seed):
    path = torch.randn(4, 12, 3, generator=torch.Generator().manual_seed(8)).cumsum(1)
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    return TensorDataset((path[y] + torch.randn(n, 12, 3, generator=g)) / 2, y)


def build():
    return Gesture(), DataLoader(gestures(1200, 0), batch_size=40, shuffle=True), DataLoader(gestures(400, 1), batch_size=40)
