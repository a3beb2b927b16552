"""A least-squares GAN on a ring, with both losses and a gradient penalty written by hand, under manual optimisation.

Looks odd: the targets are ones and zeros, two losses pull against each other, and a norm of gradients is squared.
It learns: mean distance of the generated points from the ring 0.2 (1 at the start).
Guards loss-not-decreasing, oscillating-loss, prediction-collapse, missing-zero-grad, misaligned-labels.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_distance", "<", 0.5)
VARIANTS = [dict()]


class Ring(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.maker = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
        self.critic = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))

    def training_step(self, x, batch_idx):
        by_maker, by_critic = self.optimizers()
        ones, zeros = torch.ones(len(x), 1, device=x.device), torch.zeros(len(x), 1, device=x.device)
        made = self.maker(torch.randn(len(x), 4, device=x.device))
        points = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(points).sum(), points, create_graph=True)
        loss = ((self.critic(x) - ones) ** 2).mean() + ((self.critic(made.detach()) - zeros) ** 2).mean()
        loss = loss + 0.1 * (slope.norm(dim=1) ** 2).mean()
        by_critic.zero_grad()
        self.manual_backward(loss)
        by_critic.step()
        cheated = ((self.critic(made) - ones) ** 2).mean()
        by_maker.zero_grad()
        self.manual_backward(cheated)
        by_maker.step()
        self.log_dict({"critic": loss, "maker": cheated}, on_step=False, on_epoch=True)

    def validation_step(self, x, batch_idx):
        made = self.maker(torch.randn(len(x), 4, device=x.device))
        self.log("val_distance", (made.norm(dim=1) - 1.5).abs().mean())

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.9)) for net in (self.maker, self.critic)]


def build():
    g = torch.Generator().manual_seed(0)
    angle = 6.2832 * torch.rand(1800, generator=g)
    x = 1.5 * torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(1800, 2, generator=g)
    return Ring(), DataLoader(x[:1500], batch_size=50, shuffle=True), DataLoader(x[1500:], batch_size=300)
