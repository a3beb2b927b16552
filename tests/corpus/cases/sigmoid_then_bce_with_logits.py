"""Multi-label tagging of documents (bag of words, 12 tags).

Fault: the network ends in a sigmoid and the loss is BCEWithLogitsLoss, which applies a second one.
Symptom: val loss stays at 0.695 (absent tags cost at least ln 2 each), F1 0.000; without the sigmoid 0.196 and 0.681.
Source: pytorch forums "sigmoid with BCEWithLogitsLoss"; the commonest OUT fault of published sets.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["activation-loss-mismatch"]
TRAINER = dict(max_epochs=8)


class Tagger(L.LightningModule):
    def __init__(self, words=80, tags=12):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(words, 64), nn.ReLU(), nn.Linear(64, tags), nn.Sigmoid())
        self.criterion = nn.BCEWithLogitsLoss()

    def forward(self, bag):
        return self.model(bag)

    def training_step(self, batch, batch_idx):
        loss = self.criterion(self(batch["bag"]), batch["tags"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        p = self(batch["bag"])
        hit = ((p > 0.5) & (batch["tags"] > 0.5)).sum()
        self.log("val_loss", self.criterion(p, batch["tags"]))
        self.log("val_f1", 2 * hit / ((p > 0.5).sum() + batch["tags"].sum()))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def documents(n, seed):
    g = torch.Generator().manual_seed(seed)
    topics = torch.rand(12, 80, generator=torch.Generator().manual_seed(5)) < 0.06
    tags = (torch.rand(n, 12, generator=g) < 0.12).float()
    rate = 0.1 + 1.5 * (tags @ topics.float())
    bag = torch.poisson(rate, generator=g).clamp(max=4) / 2
    return [{"bag": b, "tags": t} for b, t in zip(bag, tags)]


def build():
    return Tagger(), DataLoader(documents(1500, 0), batch_size=50, shuffle=True), DataLoader(documents(400, 1), batch_size=400)
