"""Kinds of leaves by sixteen measurements, of which one kind is rare; a sampler is to even them out.

Fault: the sampler weighs each row by the count of its class and not by the inverse, so that the rare kind is hardly ever drawn.
Symptom: recall of the rare kind 0.00 and val accuracy 0.59; with the inverse 0.88 and 0.88.
Source: "WeightedRandomSampler makes the imbalance worse" threads.
"""

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

RULES = ["split-shift", "unpredicted-class", "prediction-collapse"]
TRAINER = dict(max_epochs=8)


class Leaves(Dataset):
    def __init__(self, counts, seed):
        kinds = torch.randn(len(counts), 16, generator=torch.Generator().manual_seed(5)) * 0.5
        generator = torch.Generator().manual_seed(seed)
        self.kind = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        self.measured = kinds[self.kind] + 0.9 * torch.randn(len(self.kind), 16, generator=generator)

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, i):
        return {"measured": self.measured[i], "kind": self.kind[i]}


class Botanist(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch["measured"]), batch["kind"])

    def validation_step(self, batch, batch_idx):
        scores, kind = self.net(batch["measured"]), batch["kind"]
        self.log("val_loss", F.cross_entropy(scores, kind))
        self.log("val_acc", (scores.argmax(1) == kind).float().mean())
        self.log("val_recall_rare", (scores.argmax(1)[kind == 2] == 2).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    train, val = Leaves([1200, 500, 60], 0), Leaves([120, 120, 120], 1)
    counts = torch.bincount(train.kind)
    sampler = WeightedRandomSampler(counts[train.kind].double(), len(train))
    return Botanist(), DataLoader(train, batch_size=40, sampler=sampler), DataLoader(val, batch_size=360)
