"""Regression on bags of measurements of different length, which a network of sets sees one by one, with a backward pass after each.

Looks odd: the losses of the twenty bags of a batch add up and nobody divides them; each loss is that of one sample.
It learns: val loss 0.05 where a constant has 0.63, as the rate of SGD is made for the sum.
Guards accumulation-mismatch, initial-loss.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_loss", "<", 0.15)
VARIANTS = [dict(), dict(seed=1)]


class Bags(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.each = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 1)

    def forward(self, bag):
        return self.head(self.each(bag).mean(0))

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        for bag, value in batch:
            self.manual_backward(nn.functional.mse_loss(self(bag), value))
        optimizer.step()

    def validation_step(self, batch, batch_idx):
        found, wanted = (torch.stack(rows) for rows in zip(*[(self(bag), value) for bag, value in batch]))
        self.log("val_loss", nn.functional.mse_loss(found, wanted), batch_size=len(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0015, momentum=0.9)


def bags(n, seed):
    made, out = torch.Generator().manual_seed(seed), []
    for _ in range(n):
        size = int(torch.randint(4, 12, (1,), generator=made))
        bag = torch.randn(size, 5, generator=made) + torch.randn(5, generator=made)
        out.append((bag, (torch.sin(bag[:, :1]) + bag[:, 1:2].abs() - 1.1).mean(0) / 0.8))
    return out


def build():
    return Bags(), DataLoader(bags(800, 0), batch_size=20, shuffle=True, collate_fn=list), DataLoader(bags(200, 1), batch_size=200, collate_fn=list)
