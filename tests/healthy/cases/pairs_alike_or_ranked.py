"""Losses of pairs: a siamese network on pairs that are alike (1) or not (-1), by cosine or distance, or on pairs ranked from high to low.

Looks odd: two inputs per sample; the targets are -1 and 1, or nothing but 1 (the first of each pair is the better one).
It learns: the share of pairs that are told rightly is 0.96 (cosine), 0.97 (distance), 0.94 (ranked).
Guards invalid-target, sample-leakage, misaligned-labels, collapsed-embedding.
"""
import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_acc", ">", 0.8)
VARIANTS = [dict(), dict(seed=1, loss="distance"), dict(seed=2, loss="ranked"), dict(seed=3, whole=True)]


class Pairs(L.LightningModule):
    def __init__(self, loss):
        super().__init__()
        self.loss_of = loss
        self.net = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 1 if loss == "ranked" else 16))

    def compare(self, batch):
        """The loss, and whether each pair is told rightly."""
        one, other, sign = self.net(batch[0]), self.net(batch[1]), batch[2]
        if self.loss_of == "ranked":
            return F.margin_ranking_loss(one[:, 0], other[:, 0], sign, margin=0.5), one[:, 0] > other[:, 0]
        if self.loss_of == "distance":
            distance = F.pairwise_distance(F.normalize(one), F.normalize(other))
            return F.hinge_embedding_loss(distance, sign, margin=1.0), (distance < 0.6) == (sign > 0)
        return F.cosine_embedding_loss(one, other, sign, margin=0.2), (F.cosine_similarity(one, other) > 0.5) == (sign > 0)

    def training_step(self, batch, batch_idx):
        loss, _ = self.compare(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        loss, right = self.compare(batch)
        self.log_dict({"val_loss": loss, "val_acc": right.float().mean()})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def pairs(n, g, loss, whole):
    means = torch.randn(40, 24, generator=torch.Generator().manual_seed(7))
    one = torch.randint(0, 40, (n,), generator=g)
    alike = torch.rand(n, generator=g) < 0.5
    other = torch.where(alike, one, (one + torch.randint(1, 40, (n,), generator=g)) % 40)
    left, right = (means[who] + 0.5 * torch.randn(n, 24, generator=g) for who in (one, other))
    sign = 2 * alike.long() - 1 if whole else 2 * alike.float() - 1
    if loss == "ranked":
        worth = torch.stack([x[:, :6].sum(1) + x[:, 6].square() for x in (left, right)])
        first = (worth[0] > worth[1])[:, None]
        left, right, sign = torch.where(first, left, right), torch.where(first, right, left), torch.ones(n)
    return TensorDataset(left, right, sign)


def build(seed=0, loss="cosine", whole=False):
    g = torch.Generator().manual_seed(seed)
    return (Pairs(loss), DataLoader(pairs(2000, g, loss, whole), batch_size=64, shuffle=True),
            DataLoader(pairs(500, g, loss, whole), batch_size=250))
