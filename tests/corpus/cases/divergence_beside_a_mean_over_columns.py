"""A variational autoencoder of the measurements of cell nuclei.

Fault: the squared error is a mean over the 30 columns, the divergence a sum over the code: it pulls harder, and the code is switched off.
Symptom: val mse 0.89 where that of the mean is 0.90, divergence 0.004. With the sum over the columns the mse is 0.15.
Source: "VAE gives the same output for every input" threads: reduction="mean" for the error, sum for the divergence.
"""

import lightning as L
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["collapsed-embedding", "weight-decay-dominates", "prediction-collapse", "underfitting", "sum-reduction", "input-independent"]
TRAINER = dict(max_epochs=30)


class Nuclei(L.LightningModule):
    def __init__(self, columns=30, code=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(columns, 48), nn.SiLU())
        self.mean, self.log_variance = nn.Linear(48, code), nn.Linear(48, code)
        self.decoder = nn.Sequential(nn.Linear(code, 48), nn.SiLU(), nn.Linear(48, columns))

    def terms(self, x):
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean + torch.randn_like(mean) * torch.exp(log_variance / 2) if self.training else mean
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        return ((self.decoder(code) - x) ** 2).mean(1).mean(), divergence

    def training_step(self, batch, batch_idx):
        error, divergence = self.terms(batch[0])
        return error + divergence

    def validation_step(self, batch, batch_idx):
        error, divergence = self.terms(batch[0])
        self.log_dict({"val_error": error, "val_divergence": divergence, "val_loss": error + divergence})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    x = torch.tensor(load_breast_cancer().data, dtype=torch.float32).log1p()
    x = (x - x[:440].mean(0)) / x[:440].std(0)
    return (
        Nuclei(),
        DataLoader(TensorDataset(x[:440]), batch_size=40, shuffle=True),
        DataLoader(TensorDataset(x[440:]), batch_size=129),
    )
