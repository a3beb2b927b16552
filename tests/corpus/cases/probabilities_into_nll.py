"""Classification of points into five overlapping sectors with softmax and NLLLoss.

Fault: NLLLoss wants log-probabilities and gets probabilities (softmax instead of log_softmax): the loss is -p, between -1 and 0.
Symptom: val loss -0.671, val accuracy 0.702 after 8 epochs; with log_softmax 0.913.
Source: pytorch forums ("NLLLoss returns negative values"); AUTOTRAINER "improper loss".
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["activation-loss-mismatch", "initial-loss"]
TRAINER = dict(max_epochs=8)


class Sectors(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5), nn.Softmax(dim=-1))
        self.nll = nn.NLLLoss()

    def forward(self, x):
        return self.stack(x)

    def training_step(self, batch, batch_idx):
        loss = self.nll(self(batch[0]), batch[1])
        self.log("train/nll", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        p = self(batch[0])
        self.log("val/nll", self.nll(p, batch[1]))
        self.log("val_acc", (p.argmax(-1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def sectors(n, seed):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    turn = (torch.atan2(x[:, 1], x[:, 0]) + x.norm(dim=1)) % 6.2832
    return TensorDataset(x, (turn / 1.25664).long().clamp(max=4))


def build():
    return Sectors(), DataLoader(sectors(1600, 0), batch_size=32, shuffle=True), DataLoader(sectors(400, 1), batch_size=400)
