"""Robot arm kinematics (two joints) with a tanh network whose pre-activations are multiplied by a gain.

Fault: the gain is 200 (a "temperature" copied from elsewhere): the units of both hidden layers sit at -1 or 1 and have no slope.
Symptom: val loss 0.063; with gain 1 0.007.
Source: Glorot & Bengio 2010 (saturation); TheDeepChecker's saturation index.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["saturated-units", "poor-initialization", "vanishing-gradient", "exploding-gradient", "underfitting"]
TRAINER = dict(max_epochs=10)


class Arm(L.LightningModule):
    def __init__(self, gain=200.0):
        super().__init__()
        self.gain = gain
        self.l1, self.l2, self.out = nn.Linear(2, 40), nn.Linear(40, 40), nn.Linear(40, 2)

    def forward(self, joints):
        h = torch.tanh(self.gain * self.l1(joints))
        h = torch.tanh(self.gain * self.l2(h))
        return self.out(h)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def poses(n, seed):
    joints = 1.7 * (2 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) - 1)
    a, b = joints[:, 0], joints[:, 0] + joints[:, 1]
    return TensorDataset(joints, torch.stack([a.cos() + b.cos() - 0.8, a.sin() + b.sin()], 1))


def build():
    return Arm(), DataLoader(poses(1600, 0), batch_size=40, shuffle=True), DataLoader(poses(400, 1), batch_size=400)
