"""A small GAN with manual optimisation.

Fault: opt_d.step() is missing: the discriminator stays as it was initialised, and the generator runs to wherever it likes that one best.
Symptom: mean distance of generated points from the ring 650; with the step 0.08.
Source: Lightning's manual optimisation, where each optimizer is stepped by hand; Lightning forum, "discriminator loss does not change".
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

RULES = ["frozen-parameter"]
TRAINER = dict(max_epochs=14)


def net(a, b):
    return nn.Sequential(nn.Linear(a, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, b))


class Gan(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.g, self.d = net(3, 2), net(2, 1)

    def training_step(self, real, batch_idx):
        opt_g, opt_d = self.optimizers()
        fake = self.g(torch.randn(len(real), 3, device=self.device))
        one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        d_loss = F.binary_cross_entropy_with_logits(self.d(real), one) + F.binary_cross_entropy_with_logits(self.d(fake.detach()), zero)
        opt_d.zero_grad()
        self.manual_backward(d_loss)
        opt_g.zero_grad()
        g_loss = F.binary_cross_entropy_with_logits(self.d(fake), one)
        self.manual_backward(g_loss)
        opt_g.step()
        self.log_dict({"d_loss": d_loss, "g_loss": g_loss}, on_step=False, on_epoch=True)

    def validation_step(self, real, batch_idx):
        fake = self.g(torch.randn(len(real), 3, device=self.device))
        self.log("ring_error", (fake.norm(dim=1) - 1).abs().mean())

    def configure_optimizers(self):
        return [torch.optim.Adam(self.g.parameters(), lr=1e-3, betas=(0.5, 0.9)), torch.optim.Adam(self.d.parameters(), lr=1e-3, betas=(0.5, 0.9))]


def build():
    angle = 6.2832 * torch.rand(2900, generator=torch.Generator().manual_seed(0))
    x = torch.stack([angle.cos(), angle.sin()], 1) + 0.04 * torch.randn(2900, 2, generator=torch.Generator().manual_seed(1))
    return Gan(), DataLoader(x[:2500], batch_size=50, shuffle=True), DataLoader(x[2500:], batch_size=400)
