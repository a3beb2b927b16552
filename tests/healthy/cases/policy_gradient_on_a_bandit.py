"""A contextual bandit by REINFORCE: the loss is minus log-probability times advantage, actions are sampled in the training step.

Looks odd: the loss has no floor and no trend, its sign changes, the rewards come from inside the module, sampling makes every loss differ.
It learns: mean reward of the greedy action 0.952 (0.25 by chance, 1 at best).
Guards loss-not-decreasing, oscillating-loss, diverging-loss, initial-loss, cannot-overfit-batch.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_reward", ">", 0.7)
VARIANTS = [dict(), dict(seed=1, lr=1e-2)]


class Bandit(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.policy = nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 4))
        self.register_buffer("best", torch.randn(6, 4, generator=torch.Generator().manual_seed(2)))

    def reward(self, x, action):
        return ((x @ self.best).argmax(1) == action).float()

    def training_step(self, x, batch_idx):
        choice = torch.distributions.Categorical(logits=self.policy(x))
        action = choice.sample()
        reward = self.reward(x, action)
        loss = -(choice.log_prob(action) * (reward - reward.mean())).mean()
        self.log_dict({"train_loss": loss, "reward": reward.mean()}, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, x, batch_idx):
        self.log("val_reward", self.reward(x, self.policy(x).argmax(1)).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def build(lr=2e-2):
    x = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0))
    return Bandit(lr), DataLoader(x[:1600], batch_size=50, shuffle=True), DataLoader(x[1600:], batch_size=400)
