"""A network solves u'' = -u from the residual of the equation and two values at the boundary, all squared by hand.

Looks odd: there are no targets in the data, the derivative is in the loss, and one term compares with a number.
It learns: mean error against the sine 0.01 (0.6 at the start).
Guards misaligned-labels, loss-broadcast, sample-leakage, initial-loss, missing-nonlinearity.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=15)
REACHES = ("val_error", "<", 0.2)
VARIANTS = [dict()]


class Oscillator(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(self, t, batch_idx):
        t = t.clone().requires_grad_()
        u = self.net(t)
        (first,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), t, create_graph=True)
        ends = self.net(torch.tensor([[0.0], [1.5708]], device=t.device))
        loss = (second - -u).square().mean() + 10 * ((ends - torch.tensor([[0.0], [1.0]], device=t.device)) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, t, batch_idx):
        self.log("val_error", (self.net(t) - t.sin()).abs().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    t = 3 * torch.rand(1200, 1, generator=torch.Generator().manual_seed(0))
    return Oscillator(), DataLoader(t[:1000], batch_size=50, shuffle=True), DataLoader(t[1000:], batch_size=200)
