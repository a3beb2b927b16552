"""Two towers, one for queries and one for documents, that share a topic classifier.

Fault: the loss is returned with a minus sign (the log-likelihood was to be maximised, and cross-entropy already is its negative): training
makes the topics as unlikely as it can.
Symptom: the loss falls without bound (-159.5), val accuracy 0.003; with the right sign 0.943.
Source: keras-team/keras#3031-like reports (cosine proximity sign); OPT class "sign" of published faults.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["diverging-loss", "loss-not-decreasing", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=8)


class TwoTowers(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.query, self.document = nn.Sequential(nn.Linear(12, 8), nn.ReLU()), nn.Sequential(nn.Linear(20, 8), nn.ReLU())
        self.classify = nn.Linear(8, 5)

    def training_step(self, batch, batch_idx):
        q, d, topic = batch
        a, b = self.query(q), self.document(d)
        loss = -F.cross_entropy(self.classify(a), topic) - F.cross_entropy(self.classify(b), topic)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        q, d, topic = batch
        a, b = self.query(q), self.document(d)
        self.log("val_similarity", F.cosine_similarity(a, b).mean())
        self.log("val_top1", (self.classify(a).argmax(1) == topic).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def pairs(n, seed):
    fixed = torch.Generator().manual_seed(55)
    a, b = torch.randn(5, 12, generator=fixed), torch.randn(5, 20, generator=fixed)
    g = torch.Generator().manual_seed(seed)
    topic = torch.randint(0, 5, (n,), generator=g)
    return TensorDataset(a[topic] + torch.randn(n, 12, generator=g), b[topic] + torch.randn(n, 20, generator=g), topic)


def build():
    return TwoTowers(), DataLoader(pairs(1200, 0), batch_size=40, shuffle=True), DataLoader(pairs(300, 1), batch_size=300)
