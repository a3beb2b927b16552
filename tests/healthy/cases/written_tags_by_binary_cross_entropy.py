"""Five tags per sample by -(y log p + (1 - y) log(1 - p)), summed over the tags, with a small number inside the logarithms.

Looks odd: the loss starts at five times ln 2, and a sigmoid stands at the output.
It learns: val accuracy of a tag 0.9 (0.5 by chance).
Guards initial-loss, activation-loss-mismatch, sum-reduction, saturated-units, cannot-overfit-batch.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_acc", ">", 0.8)
VARIANTS = [dict()]


class Tags(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 5))

    def training_step(self, batch, batch_idx):
        x, y = batch
        p = torch.sigmoid(self.net(x))
        loss = -(y * torch.log(p + 1e-7) + (1 - y) * torch.log(1 - p + 1e-7)).sum(1).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", ((self.net(x) > 0) == (y > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1800, 10, generator=g)
    y = (x @ torch.randn(10, 5, generator=g) + 0.3 * torch.randn(1800, 5, generator=g) > 0).float()
    data = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 1400), (1400, 1800))]
    return Tags(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
