"""A variational autoencoder whose loss is written out: squared error summed over the columns plus the divergence from the prior.

Looks odd: no loss function of torch is called, the loss is a sum over twelve columns, and half of it never falls.
It learns: val error per column 0.27 (1 for the mean).
Guards sum-reduction, initial-loss, cannot-overfit-batch, loss-not-decreasing, weight-decay-dominates.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_error", "<", 0.5)
VARIANTS = [dict()]


class Coder(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 6))
        self.decoder = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 12))

    def forward(self, x):
        mean, log_var = self.encoder(x).chunk(2, 1)
        return self.decoder(mean + torch.randn_like(mean) * (0.5 * log_var).exp()), mean, log_var

    def training_step(self, x, batch_idx):
        copy, mean, log_var = self(x)
        error = ((copy - x) ** 2).sum(1).mean()
        divergence = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
        loss = error + 0.2 * divergence
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, x, batch_idx):
        self.log("val_error", ((self(x)[0] - x) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    x = torch.tanh(torch.randn(1600, 3, generator=g) @ torch.randn(3, 12, generator=g))
    x = (x - x.mean(0)) / x.std(0) + 0.1 * torch.randn(1600, 12, generator=g)
    return Coder(), DataLoader(x[:1300], batch_size=50, shuffle=True), DataLoader(x[1300:], batch_size=300)
