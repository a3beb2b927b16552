"""Siamese network: pairs of readings from one device should be near, of two devices far apart (contrastive loss).

Fault: the distance is written as sqrt of a sum of squares; some pairs are the same reading twice, and the gradient of sqrt at 0 is infinite
(inf * 0 = NaN).
Symptom: the loss is finite for some batches, then NaN for good, val accuracy 0.470; with sqrt(d + 1e-8) 0.967.
Source: pytorch/pytorch#2534 and forums (NaN gradient of norm at zero in contrastive loss).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["non-finite"]
TRAINER = dict(max_epochs=6)


class Siamese(L.LightningModule):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin
        self.tower = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, a, b):
        gap = self.tower(a) - self.tower(b)
        return torch.sqrt((gap**2).sum(1))

    def training_step(self, batch, batch_idx):
        a, b, same = batch
        d = self(a, b)
        loss = (same * d**2 + (1 - same) * (self.margin - d).clamp(min=0) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        a, b, same = batch
        self.log("val_acc", ((self(a, b) < 0.5 * self.margin) == (same > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def pairs(n, seed, twins):
    center = torch.randn(12, 10, generator=torch.Generator().manual_seed(77))
    g = torch.Generator().manual_seed(seed)
    i, j = torch.randint(0, 12, (2, n), generator=g)
    same = torch.rand(n, generator=g) < 0.5
    j = torch.where(same, i, j)
    a = center[i] + 0.4 * torch.randn(n, 10, generator=g)
    b = center[j] + 0.4 * torch.randn(n, 10, generator=g)
    b[:twins] = torch.where(same[:twins, None], a[:twins], b[:twins])
    return TensorDataset(a, b, (i == j).float())


def build():
    return Siamese(), DataLoader(pairs(1500, 0, twins=8), batch_size=50, shuffle=True), DataLoader(pairs(400, 1, twins=0), batch_size=400)
