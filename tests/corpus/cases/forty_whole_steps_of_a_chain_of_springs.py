"""Learns how four weights on a chain of springs swing: a network gives the change in a tenth of a second, the loss compares four seconds.

Fault: what the network gives is added as it is, so forty steps multiply and the gradient grows with each on its way back.
Symptom: NaN in the second batch (gradient 40,000 times as large at the first step as at the last); of a tenth of it val loss 1.23 to 0.43.
Source: own experience with learned simulators; R. Pascanu et al. (2013).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["exploding-gradient", "non-finite", "initial-loss", "diverging-loss"]
TRAINER = dict(max_epochs=12)
STEPS = 40


class Springs(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ELU(), nn.Linear(64, 8))

    def forward(self, state):
        path = []
        for _ in range(STEPS):
            state = state + self.net(state)
            path.append(state)
        return torch.stack(path, 1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.smooth_l1_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.smooth_l1_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def swings(n, seed):
    place, speed = torch.randn(2, n, 4, generator=torch.Generator().manual_seed(seed))
    start, path = torch.cat([place, speed], 1), []
    for _ in range(STEPS):
        for _ in range(5):
            pull = nn.functional.pad(place, (1, 1)).diff(dim=1).diff(dim=1)
            speed = speed + 0.02 * pull
            place = place + 0.02 * speed
        path.append(torch.cat([place, speed], 1))
    return TensorDataset(start, torch.stack(path, 1))


def build():
    return Springs(), DataLoader(swings(640, 0), batch_size=32, shuffle=True), DataLoader(swings(200, 1), batch_size=200)
