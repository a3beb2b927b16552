"""Will a user click an item? Two embedding tables and a small network; each id occurs about forty times.

Looks odd: inputs are ids only, nothing is learned in the first epochs, and what is learned on some rows holds for others only once each id
has been seen often. It learns: val accuracy 0.888.
Guards misaligned-labels, frozen-parameter, no-gradient, unnormalized-input.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_acc", ">", 0.75)
VARIANTS = [dict(), dict(seed=1, dim=8), dict(seed=2, users=100)]


class Clicks(L.LightningModule):
    def __init__(self, users, items, dim):
        super().__init__()
        self.users, self.items = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, user, item):
        return self.mlp(torch.cat([self.users(user), self.items(item)], 1)).squeeze(1)

    def training_step(self, batch, batch_idx):
        user, item, click = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self(user, item), click)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        user, item, click = batch
        score = self(user, item)
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(score, click))
        self.log("val_acc", ((score > 0) == (click > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def build(users=60, items=40, dim=4):
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(users, 2, generator=g), torch.randn(items, 2, generator=g)
    user, item = torch.randint(0, users, (3000,), generator=g), torch.randint(0, items, (3000,), generator=g)
    click = ((a[user] * b[item]).sum(1) > 0).float()
    part = lambda s: TensorDataset(user[s], item[s], click[s])
    return (Clicks(users, items, dim), DataLoader(part(slice(0, 2500)), batch_size=50, shuffle=True),
            DataLoader(part(slice(2500, None)), batch_size=500))
