"""Variational autoencoder with a squared-error likelihood, a KL weight of 0.05 and batches that are dicts.

Looks odd: the loss is the sum of two terms, one of which rises while the other falls; forward is random; the targets are the inputs.
It learns: val reconstruction error 0.140 (variance of the data 1).
Guards initial-loss, cannot-overfit-batch, underfitting, sum-reduction.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_mse", "<", 0.25)
VARIANTS = [dict(), dict(seed=1, latent=6, lr=2e-3), dict(seed=2, batch_size=100)]


class VAE(L.LightningModule):
    def __init__(self, latent, lr):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(30, 64), nn.SiLU(), nn.Linear(64, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.SiLU(), nn.Linear(64, 30))

    def losses(self, x):
        mean, log_var = self.encoder(x).chunk(2, dim=-1)
        z = mean + torch.randn_like(mean) * torch.exp(log_var / 2)
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(-1).mean()
        return nn.functional.mse_loss(self.decoder(z), x), kl

    def training_step(self, batch, batch_idx):
        mse, kl = self.losses(batch["x"])
        self.log_dict({"mse": mse, "kl": kl}, on_step=False, on_epoch=True)
        return mse + 0.05 / 30 * kl

    def validation_step(self, batch, batch_idx):
        self.log("val_mse", self.losses(batch["x"])[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def build(latent=4, lr=4e-3, batch_size=50):
    g = torch.Generator().manual_seed(0)
    x = torch.tanh(torch.randn(1800, 4, generator=g) @ torch.randn(4, 30, generator=g)) + 0.2 * torch.randn(1800, 30, generator=g)
    rows = [{"x": r} for r in (x - x.mean(0)) / x.std(0)]
    return VAE(latent, lr), DataLoader(rows[:1500], batch_size=batch_size, shuffle=True), DataLoader(rows[1500:], batch_size=300)
