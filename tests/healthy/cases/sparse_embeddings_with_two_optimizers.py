"""Matrix factorisation of ratings: sparse embeddings with SparseAdam, biases with Adam, manual optimisation.

Looks odd: gradients are sparse, most rows get none in a batch, rating range 1-5 as raw regression target with a global mean.
It learns: val RMSE 0.36.
Guards missing-zero-grad, frozen-parameter, no-gradient.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_rmse", "<", 0.5)
VARIANTS = [dict()]


class Ratings(L.LightningModule):
    def __init__(self, users=150, items=80, dim=4):
        super().__init__()
        self.automatic_optimization = False
        self.user, self.item = nn.Embedding(users, dim, sparse=True), nn.Embedding(items, dim, sparse=True)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        self.mean = nn.Parameter(torch.tensor(3.0))
        for table in (self.user, self.item, self.user_bias, self.item_bias):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, u, i):
        return self.mean + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1) + (self.user(u) * self.item(i)).sum(1)

    def training_step(self, batch, batch_idx):
        u, i, r = batch
        loss = F.mse_loss(self(u, i), r)
        for opt in self.optimizers():
            opt.zero_grad()
        self.manual_backward(loss)
        for opt in self.optimizers():
            opt.step()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        u, i, r = batch
        self.log("val_rmse", F.mse_loss(self(u, i), r).sqrt())

    def configure_optimizers(self):
        dense = [self.mean, *self.user_bias.parameters(), *self.item_bias.parameters()]
        return [torch.optim.SparseAdam([*self.user.parameters(), *self.item.parameters()], lr=1e-2), torch.optim.Adam(dense, lr=1e-2)]


def build():
    g = torch.Generator().manual_seed(0)
    p, q = torch.randn(150, 3, generator=g) * 0.5, torch.randn(80, 3, generator=g) * 0.5
    u, i = torch.randint(0, 150, (6000,), generator=g), torch.randint(0, 80, (6000,), generator=g)
    r = (3.5 + p[u, 0] + q[i, 0] + (p[u] * q[i]).sum(1) + 0.3 * torch.randn(6000, generator=g)).clamp(1, 5)
    return Ratings(), DataLoader(TensorDataset(u[:5000], i[:5000], r[:5000]), 100, shuffle=True), DataLoader(TensorDataset(u[5000:], i[5000:], r[5000:]), 500)
