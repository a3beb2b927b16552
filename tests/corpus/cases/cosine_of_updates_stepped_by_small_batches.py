"""Manual optimisation that accumulates six small batches before a step, with a cosine schedule over the steps of the run.

Fault: the schedule is stepped once per small batch, so that the rate falls to zero and rises again three times, and ends at its peak.
Symptom: val loss 0.12 and 0.18 (two seeds); with the schedule stepped after the optimizer 0.06 and 0.07.
Source: Lightning manual on stepping schedulers under manual optimisation; huggingface accelerate on schedulers under accumulation.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["scheduler-mismatch"]
TRAINER = dict(max_epochs=14)


class SmallBatches(L.LightningModule):
    def __init__(self, updates, every=6):
        super().__init__()
        self.automatic_optimization = False
        self.updates, self.every = updates, every
        self.net = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))

    def training_step(self, batch, batch_idx):
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.manual_backward(loss / self.every)
        if (batch_idx + 1) % self.every == 0:
            optimizer.step()
            optimizer.zero_grad()
        schedule.step()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.updates)]


def rows(n, seed, noise):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=g)
    y = (torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]) / 1.3
    return TensorDataset(x, y + noise * torch.randn(n, 1, generator=g))


def build():
    train = DataLoader(rows(1200, 0, 0.5), batch_size=5, shuffle=True)
    return SmallBatches(TRAINER["max_epochs"] * len(train) // 6), train, DataLoader(rows(400, 1, 0.0), batch_size=400)
