"""Tells five kinds of machine readings apart by twenty gated linear layers, as in gated residual networks for tables.

Fault: each layer returns its gated value alone; the shortcut around it, `x + ...`, was lost in a rewrite.
Symptom: train loss 1.609 (ln 5 is 1.609), val accuracy 0.193 after six epochs; with the shortcut 0.014 and 0.985.
Source: K. He et al. (2016), identity mappings; gated residual networks as in B. Lim et al. (2021).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["vanishing-gradient", "poor-initialization", "input-independent", "cannot-overfit-batch", "loss-not-decreasing", "prediction-collapse"]
TRAINER = dict(max_epochs=6)


class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.both = nn.Linear(width, 2 * width)

    def forward(self, x):
        return nn.functional.glu(self.both(x))


class Machines(L.LightningModule):
    def __init__(self, width=32, depth=20):
        super().__init__()
        self.start = nn.Linear(12, width)
        self.layers = nn.ModuleList(Gated(width) for _ in range(depth))
        self.kind = nn.Linear(width, 5)

    def forward(self, x):
        x = self.start(x)
        for layer in self.layers:
            x = layer(x)
        return self.kind(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def readings(n, seed):
    g = torch.Generator().manual_seed(seed)
    kinds = torch.randn(5, 12, generator=torch.Generator().manual_seed(8))
    y = torch.randint(5, (n,), generator=g)
    return TensorDataset(kinds[y] + 0.7 * torch.randn(n, 12, generator=g), y)


def build():
    return Machines(), DataLoader(readings(1600, 0), batch_size=32, shuffle=True), DataLoader(readings(400, 1), batch_size=200)
