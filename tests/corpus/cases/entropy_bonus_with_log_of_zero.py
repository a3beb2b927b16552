"""Policy-like classifier with an entropy bonus, -(p * log p).sum(), on top of cross-entropy; in rare states one action is illegal.

Fault: illegal actions are masked with -inf, so their p is 0, and 0 * log 0 is NaN, which poisons all weights.
Symptom: the loss turns NaN at the first state with an illegal action, val accuracy 0.262; with a clamp in the log 0.908.
Source: openai/baselines and StackOverflow 41488279-like entropy NaNs; NUM class of published faults.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["non-finite"]
TRAINER = dict(max_epochs=6)


class Policy(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, action = batch
        scores = self(x)
        scores = scores.masked_fill((x[:, 3:] > 2.7) & (torch.arange(5) == (action[:, None] + 1) % 5), float("-inf"))
        p = scores.softmax(dim=1)
        entropy = -(p * p.log()).sum(1).mean()
        loss = F.cross_entropy(scores, action) - 0.01 * entropy
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, action = batch
        self.log("val_acc", (self(x).argmax(1) == action).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def states(n, seed):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (2 * x[:, 0] + x[:, 1] * x[:, 2]).div(0.9).round().clamp(-2, 2).long() + 2)


def build():
    return Policy(), DataLoader(states(1500, 0), batch_size=50, shuffle=True), DataLoader(states(400, 1), batch_size=400)
