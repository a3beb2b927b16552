"""An encoder that hides a bit from an adversary, which has three steps per batch and ten times the rate; manual optimisation.

Looks odd: the adversary's loss does not fall, since there is nothing left to find, and the encoder's goes below zero.
It learns: accuracy of the task 0.9, of the adversary that of chance.
Guards learning-rate-too-low, learning-rate-too-high, vanishing-gradient, frozen-parameter, missing-zero-grad.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=15)
REACHES = ("accuracy", ">", 0.8)
VARIANTS = [dict()]


class Hiding(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.body = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
        self.head = nn.Linear(16, 2)
        self.adversary = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch, batch_idx):
        by_task, by_adversary = self.optimizers()
        x, y, secret = batch
        for _ in range(3):
            found = F.binary_cross_entropy_with_logits(self.adversary(self.body(x).detach()).squeeze(1), secret)
            by_adversary.zero_grad()
            self.manual_backward(found)
            by_adversary.step()
        h = self.body(x)
        loss = F.cross_entropy(self.head(h), y) - 0.5 * F.binary_cross_entropy_with_logits(self.adversary(h).squeeze(1), secret)
        by_task.zero_grad()
        self.manual_backward(loss)
        by_task.step()

    def validation_step(self, batch, batch_idx):
        self.log("accuracy", (self.head(self.body(batch[0])).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        task = [*self.body.parameters(), *self.head.parameters()]
        return torch.optim.Adam(task, lr=5e-4), torch.optim.Adam(self.adversary.parameters(), lr=5e-3)


def build():
    x = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).long(), (x[:, 5] > 0).float())
    train, held = torch.utils.data.random_split(data, [2500, 500], generator=torch.Generator().manual_seed(1))
    return Hiding(), DataLoader(train, batch_size=50, shuffle=True), DataLoader(held, batch_size=500)
