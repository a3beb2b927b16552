"""A GAN on 8x8 digits with the minimax loss for the generator.

Fault: the generator minimises log(1 - D(G(z))) against a discriminator that learns twenty times as fast: its gradient vanishes.
Symptom: mean squared distance of a generated image from the nearest real one 0.58; with -log D(G(z)) and equal rates 0.33.
Source: Goodfellow et al. (2014), section 3, on the loss that saturates; Arjovsky and Bottou (2017).
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

RULES = ["vanishing-gradient"]
TRAINER = dict(max_epochs=14)


def net(a, b):
    return nn.Sequential(nn.Linear(a, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, b))


class Gan(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.g, self.d = net(16, 64), net(64, 1)

    def make(self, n):
        return self.g(torch.randn(n, 16, device=self.device)).tanh()

    def training_step(self, real, batch_idx):
        opt_g, opt_d = self.optimizers()
        fake = self.make(len(real))
        d_loss = -F.logsigmoid(self.d(real)).mean() - F.logsigmoid(-self.d(fake.detach())).mean()
        opt_d.zero_grad()
        self.manual_backward(d_loss)
        opt_d.step()
        g_loss = torch.log(1 - torch.sigmoid(self.d(fake)) + 1e-8).mean()
        opt_g.zero_grad()
        self.manual_backward(g_loss)
        opt_g.step()
        self.log_dict({"d_loss": d_loss, "g_loss": g_loss}, on_step=False, on_epoch=True)

    def validation_step(self, real, batch_idx):
        self.log("nearest", torch.cdist(self.make(len(real)), real).amin(1).square().mean() / 64)

    def configure_optimizers(self):
        return [torch.optim.Adam(self.g.parameters(), lr=2e-4, betas=(0.5, 0.9)), torch.optim.Adam(self.d.parameters(), lr=4e-3, betas=(0.5, 0.9))]


def build():
    x = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32)
    return Gan(), DataLoader(x[:1500], batch_size=50, shuffle=True), DataLoader(x[1500:], batch_size=400)
