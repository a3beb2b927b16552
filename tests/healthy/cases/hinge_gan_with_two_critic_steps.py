"""A GAN with the hinge loss on a two-dimensional mixture, two critic steps for each generator step, manual optimisation.

Looks odd: losses do not go down, the critic's loss has a floor, relu() stands in the loss, the generator steps on every second batch only.
It learns: the mean distance of generated points to the nearest of six centres falls to 0.305.
Guards loss-not-decreasing, no-gradient, missing-zero-grad, frozen-parameter.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=14)
REACHES = ("far", "<", 0.35)
VARIANTS = [dict(), dict(seed=1, width=64)]
CENTRES = torch.stack([torch.tensor([1.0, 2, 3, 4, 5, 6]).mul(1.0472).cos(), torch.tensor([1.0, 2, 3, 4, 5, 6]).mul(1.0472).sin()], 1)


class HingeGAN(L.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        self.critic = nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def sample(self, n):
        return self.generator(torch.randn(n, 4, device=self.device))

    def training_step(self, real, batch_idx):
        opt_g, opt_c = self.optimizers()
        loss = torch.relu(1 - self.critic(real)).mean() + torch.relu(1 + self.critic(self.sample(len(real)).detach())).mean()
        opt_c.zero_grad()
        self.manual_backward(loss)
        opt_c.step()
        self.log("critic", loss, on_step=False, on_epoch=True)
        if batch_idx % 2:
            score = -self.critic(self.sample(len(real))).mean()
            opt_g.zero_grad()
            self.manual_backward(score)
            opt_g.step()
            self.log("generator", score, on_step=False, on_epoch=True)

    def validation_step(self, real, batch_idx):
        self.log("far", torch.cdist(self.sample(len(real)), CENTRES).amin(1).mean())

    def configure_optimizers(self):
        return [torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.0, 0.9)),
                torch.optim.Adam(self.critic.parameters(), lr=2e-3, betas=(0.0, 0.9))]


def build(width=48, n=3000):
    g = torch.Generator().manual_seed(0)
    x = CENTRES[torch.randint(0, 6, (n,), generator=g)] + 0.15 * torch.randn(n, 2, generator=g)
    return HingeGAN(width), DataLoader(x[:2500], batch_size=64, shuffle=True, drop_last=True), DataLoader(x[2500:], batch_size=500)
