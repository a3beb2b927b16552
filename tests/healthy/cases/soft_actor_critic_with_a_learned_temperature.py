"""Actor, critic and temperature with an optimizer each, on a bandit with continuous actions; manual optimisation.

Looks odd: three losses, of which one is of a single weight that starts at zero, so that its first steps are infinitely large.
It learns: mean error of the mean action 0.15 (0.6 for a constant).
Guards learning-rate-too-low, learning-rate-too-high, vanishing-gradient, frozen-parameter, loss-not-decreasing.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=15)
REACHES = ("error", "<", 0.3)
VARIANTS = [dict()]


def net(a, b):
    return nn.Sequential(nn.Linear(a, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, b))


class SoftActorCritic(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.actor, self.critic = net(3, 2), net(4, 1)
        self.log_alpha = nn.Parameter(torch.zeros(1))

    def act(self, x):
        mean, log_std = self.actor(x).chunk(2, 1)
        chances = torch.distributions.Normal(mean, log_std.clamp(-5, 1).exp())
        action = chances.rsample()
        return action, chances.log_prob(action)

    def training_step(self, x, batch_idx):
        by_actor, by_critic, by_temperature = self.optimizers()
        with torch.no_grad():
            action, _ = self.act(x)
            reward = 3 - 3 * (action - torch.sin(x[:, :1])).square()
        wrong = F.mse_loss(self.critic(torch.cat([x, action], 1)), reward)
        by_critic.zero_grad()
        self.manual_backward(wrong)
        by_critic.step()
        action, log_p = self.act(x)
        loss = (self.log_alpha.exp().detach() * log_p - self.critic(torch.cat([x, action], 1))).mean()
        by_actor.zero_grad()
        self.manual_backward(loss)
        by_actor.step()
        temperature = -(self.log_alpha.exp() * (log_p.detach() - 1).mean()).sum()
        by_temperature.zero_grad()
        self.manual_backward(temperature)
        by_temperature.step()

    def validation_step(self, x, batch_idx):
        self.log("error", (self.actor(x)[:, :1] - torch.sin(x[:, :1])).abs().mean())

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.actor.parameters(), lr=1e-3),
            torch.optim.Adam(self.critic.parameters(), lr=2e-3),
            torch.optim.Adam([self.log_alpha], lr=1e-2),
        ]


def build():
    x = torch.randn(2900, 3, generator=torch.Generator().manual_seed(0))
    return SoftActorCritic(), DataLoader(x[:2500], batch_size=50, shuffle=True), DataLoader(x[2500:], batch_size=400)
