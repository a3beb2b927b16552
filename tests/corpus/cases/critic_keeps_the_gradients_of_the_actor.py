"""An actor learns to aim at a moving target by the critic that judges its shots (a contextual bandit), both under manual optimisation.

Fault: each optimizer is cleared after its own step; the actor's loss has then been differentiated through the critic, whose gradients
    of it stay and are added to those of its next loss.
Symptom: the critic is wrong by 0.96 (mean squared error) and the shots miss by 0.162; mended by 0.05 and 0.038.
Source: Lightning-AI/pytorch-lightning#591 (leftover gradients of the generator's loss); the same in actor-critic code.
"""

import lightning
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

RULES = ["missing-zero-grad", "oscillating-loss"]
TRAINER = {"max_epochs": 12}


def aim(state):
    return torch.tanh(state @ torch.tensor([[0.9, -0.3], [0.2, 0.7], [-0.5, 0.4]]))


def reward(state, action):
    return -(action - aim(state)).square().sum(1)


class ActorCritic(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.critic = nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.actor = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 2))

    def judge(self, state, action):
        return self.critic(torch.cat([state, action], dim=1)).squeeze(1)

    def training_step(self, batch, batch_idx):
        (state,) = batch
        critic_optimizer, actor_optimizer = self.optimizers()
        with torch.no_grad():
            action = self.actor(state) + 0.5 * torch.randn(len(state), 2)
        critic_loss = functional.mse_loss(self.judge(state, action), reward(state, action))
        self.manual_backward(critic_loss)
        critic_optimizer.step()
        critic_optimizer.zero_grad()

        actor_loss = -self.judge(state, self.actor(state)).mean()
        self.manual_backward(actor_loss)
        actor_optimizer.step()
        actor_optimizer.zero_grad()
        self.log_dict({"critic_loss": critic_loss, "actor_loss": actor_loss})

    def validation_step(self, batch, batch_idx):
        (state,) = batch
        self.log("val_reward", reward(state, self.actor(state)).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.critic.parameters(), lr=3e-3), torch.optim.Adam(self.actor.parameters(), lr=1e-3)


def build():
    generator = torch.Generator().manual_seed(0)
    train, val = (TensorDataset(torch.randn(n, 3, generator=generator)) for n in (2048, 512))
    return ActorCritic(), DataLoader(train, batch_size=64, shuffle=True), DataLoader(val, batch_size=512)
