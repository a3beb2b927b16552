"""Parity of three bits hidden among eight: the loss stays at ln 2 for a while before it falls.

Looks odd: the first third of the run shows no progress. It learns: val accuracy 1.000.
Guards loss-not-decreasing (early), learning-rate-too-low, input-independent, misaligned-labels.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=16)
REACHES = ("val_acc", ">", 0.95)
VARIANTS = [dict(), dict(seed=1, width=96)]


class Parity(L.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=4e-3)


def build(width=64):
    g = torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (1500, 8), generator=g)
    x = 2.0 * bits - 1 + 0.2 * torch.randn(1500, 8, generator=g)
    y = bits[:, :3].sum(1) % 2
    return (Parity(width), DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=40, shuffle=True),
            DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=300))
