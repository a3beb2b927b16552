"""A residual network of two blocks on generated curves.

Fault: the branches are added as `.detach()` ("to stabilise"), so only stem and head learn.
Symptom: val loss 0.954; without detach 0.039.
Source: lucidrains/CoCa-pytorch#6 (detached in the extractor); GRA class of published faults.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["no-gradient", "frozen-parameter"]
TRAINER = dict(max_epochs=8)


class Branch(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h):
        return self.fc2(torch.relu(self.fc1(h)))


class Curves(L.LightningModule):
    def __init__(self, width=32):
        super().__init__()
        self.stem, self.head = nn.Linear(4, width), nn.Linear(width, 1)
        self.branches = nn.ModuleList(Branch(width) for _ in range(2))

    def forward(self, x):
        h = self.stem(x)
        for branch in self.branches:
            h = h + branch(h).detach()
        return self.head(h)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def data(n, seed):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, :1] * x[:, 1:2] + torch.sin(2 * x[:, 2:3])) / 1.2)


def build():
    return Curves(), DataLoader(data(1500, 0), batch_size=50, shuffle=True), DataLoader(data(400, 1), batch_size=400)
