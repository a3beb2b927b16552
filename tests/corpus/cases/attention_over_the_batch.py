"""Point-set classification with nn.MultiheadAttention.

Fault: MultiheadAttention expects (length, batch, dim) unless batch_first=True is given, and gets (batch, length, dim): it attends over
the samples of the batch.
Symptom: val accuracy 0.512; with batch_first=True 0.995.
Source: pytorch/pytorch#78060-like reports (MultiheadAttention batch_first default); pytorch forums.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["sample-leakage"]
TRAINER = dict(max_epochs=12)


class SetNet(L.LightningModule):
    def __init__(self, dim=16):
        super().__init__()
        self.embed = nn.Linear(2, dim)
        self.attend = nn.MultiheadAttention(dim, 2)
        self.readout = nn.Linear(dim, 2)

    def forward(self, points):
        h = self.embed(points)
        h = h + self.attend(h, h, h, need_weights=False)[0]
        return self.readout(torch.relu(h).mean(1))

    def training_step(self, batch, batch_idx):
        points, label = batch
        loss = nn.functional.cross_entropy(self(points), label)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        points, label = batch
        out = self(points)
        self.log("val_loss", nn.functional.cross_entropy(out, label))
        self.log("val_acc", (out.argmax(1) == label).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def sets(n, seed):
    """Two clusters of points; the label says whether both lie on the same side."""
    g = torch.Generator().manual_seed(seed)
    center = torch.randn(n, 1, 2, generator=g)
    same = torch.randint(0, 2, (n,), generator=g)
    other = torch.where(same.view(n, 1, 1) == 1, center, -center)
    points = torch.cat([center.expand(n, 6, 2), other.expand(n, 6, 2)], 1) + 0.2 * torch.randn(n, 12, 2, generator=g)
    return TensorDataset(points, same)


def build():
    return SetNet(), DataLoader(sets(1200, 0), batch_size=40, shuffle=True), DataLoader(sets(400, 1), batch_size=40)
