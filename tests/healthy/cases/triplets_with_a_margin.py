"""Metric learning with TripletMarginLoss: anchor, positive and negative in each row.

Looks odd: there is no target tensor at all, and the loss is exactly zero for many batches at the end. It learns: val accuracy (positive
nearer than negative) 0.897.
Guards initial-loss, dead-units, vanishing-gradient, cannot-overfit-batch.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_nearer", ">", 0.87)
VARIANTS = [dict(), dict(seed=1, margin=0.5)]


class Metric(L.LightningModule):
    def __init__(self, margin):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 8))
        self.loss = nn.TripletMarginLoss(margin=margin)

    def training_step(self, batch, batch_idx):
        loss = self.loss(*(self.embed(part) for part in batch))
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        a, p, n = (self.embed(part) for part in batch)
        self.log("val_loss", self.loss(a, p, n))
        self.log("val_nearer", ((a - p).norm(dim=1) < (a - n).norm(dim=1)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def triplets(n, seed):
    centre = torch.randn(10, 20, generator=torch.Generator().manual_seed(6))
    g = torch.Generator().manual_seed(seed)
    own = torch.randint(0, 10, (n,), generator=g)
    other = (own + torch.randint(1, 10, (n,), generator=g)) % 10
    noisy = lambda k: 0.7 * centre[k] + torch.randn(n, 20, generator=g)
    return TensorDataset(noisy(own), noisy(own), noisy(other))


def build(margin=1.0):
    return Metric(margin), DataLoader(triplets(1500, 0), batch_size=50, shuffle=True), DataLoader(triplets(400, 1), batch_size=400)
