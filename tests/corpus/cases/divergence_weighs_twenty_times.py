"""A variational autoencoder of handwritten digits.

Fault: beta = 20 on a divergence that is summed over the code, beside an error that is a mean over the pixels: the code is switched off.
Symptom: val mse 0.53, that of the mean image (0.51); the divergence is 2e-4. With beta = 0.02 the mse is 0.29.
Source: "posterior collapse, KL vanishes" threads; S. Bowman et al. (2016).
"""

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["collapsed-embedding", "weight-decay-dominates", "prediction-collapse", "underfitting", "input-independent", "loss-not-decreasing", "dead-units"]
TRAINER = dict(max_epochs=10)


class Variational(L.LightningModule):
    def __init__(self, beta=20.0, size=8):
        super().__init__()
        self.beta = beta
        self.encoder = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 2 * size))
        self.decoder = nn.Sequential(nn.Linear(size, 40), nn.ReLU(), nn.Linear(40, 64))

    def terms(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return F.mse_loss(self.decoder(code), x), divergence

    def training_step(self, batch, batch_idx):
        error, divergence = self.terms(batch[0])
        self.log_dict({"train_mse": error, "train_kl": divergence})
        return error + self.beta * divergence

    def validation_step(self, batch, batch_idx):
        error, divergence = self.terms(batch[0])
        self.log_dict({"val_mse": error, "val_kl": divergence})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    x = torch.tensor((load_digits().data - 4.9) / 6, dtype=torch.float32)
    return (
        Variational(),
        DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True),
        DataLoader(TensorDataset(x[1500:]), batch_size=297),
    )
