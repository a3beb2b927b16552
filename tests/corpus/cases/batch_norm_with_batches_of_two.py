"""Volume-like data that leaves room for two samples a batch; a network with BatchNorm1d.

Fault: the normalisation statistics come from two samples, so training sees only signs, and validation, with running averages, something else.
Symptom: val loss 0.811, train loss 0.942; with LayerNorm 0.637 and 0.338.
Source: Wu & He 2018 (Group Normalization) on small batches; torch-audit TA304 (batch < 8).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["batchnorm-small-batch"]
TRAINER = dict(max_epochs=4)


class Volume(L.LightningModule):
    def __init__(self, norm=nn.BatchNorm1d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 32), norm(32), nn.ReLU(), nn.Linear(32, 32), norm(32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def volumes(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    center = torch.randn(3, 20, generator=torch.Generator().manual_seed(3))
    return TensorDataset(0.5 * center[y] + torch.randn(n, 20, generator=g), y)


def build():
    return Volume(), DataLoader(volumes(600, 0), batch_size=2, shuffle=True), DataLoader(volumes(300, 1), batch_size=300)
