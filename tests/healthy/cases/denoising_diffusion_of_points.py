"""A diffusion model of two-dimensional points: the network predicts the noise at a random level.

Looks odd: the loss falls a little in the first epoch and then stays at a high floor, since most noise cannot be predicted; noise and level
are drawn in the step. It learns: val loss 0.523 (1 for a constant answer).
Guards underfitting, loss-not-decreasing, cannot-overfit-batch, misaligned-labels.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_loss", "<", 0.55)
VARIANTS = [dict(), dict(seed=1, width=96)]


class Diffusion(L.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def step(self, x):
        level = torch.rand(len(x), 1, device=x.device)
        noise = torch.randn_like(x)
        noisy = torch.cos(1.57 * level) * x + torch.sin(1.57 * level) * noise
        return nn.functional.mse_loss(self.net(torch.cat([noisy, 2 * level - 1], 1)), noise)

    def training_step(self, x, batch_idx):
        loss = self.step(x)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, x, batch_idx):
        self.log("val_loss", self.step(x))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build(width=64):
    g = torch.Generator().manual_seed(0)
    angle = 6.2832 * torch.rand(2400, generator=g)
    x = 1.4 * torch.stack([angle.cos(), (2 * angle).sin()], 1) + 0.05 * torch.randn(2400, 2, generator=g)
    return Diffusion(width), DataLoader(x[:2000], batch_size=50, shuffle=True), DataLoader(x[2000:], batch_size=400)
