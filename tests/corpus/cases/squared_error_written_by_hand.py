"""A residual MLP regresses the energy of a small molecule-like system; the loss is written out as ((p - y) ** 2).mean().

Fault: p has shape (N,) and y has shape (N, 1): the difference is (N, N), without any warning since no loss function of torch is called.
Symptom: val MSE 1.021 (target variance 1); with y.squeeze(1) 0.072.
Source: Karpathy's recipe and pytorch forums ("silent broadcasting in MSE"); SHP class of published faults.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["loss-broadcast", "sample-leakage", "underfitting", "loss-not-decreasing", "cannot-overfit-batch", "prediction-collapse"]
TRAINER = dict(max_epochs=10)


class Energy(L.LightningModule):
    def __init__(self, width=32):
        super().__init__()
        self.stem = nn.Linear(9, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU()) for _ in range(2))
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h).squeeze(-1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = ((self(x) - y) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_mse", ((self(x) - y.squeeze(1)) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def molecules(n, seed):
    x = torch.randn(n, 9, generator=torch.Generator().manual_seed(seed))
    a, b, c = x.split(3, 1)
    y = (a - b).norm(dim=1) + 0.5 * (b * c).sum(1)
    return TensorDataset(x, ((y - 2.2) / 1.3).unsqueeze(1))


def build():
    return Energy(), DataLoader(molecules(1500, 0), batch_size=50, shuffle=True), DataLoader(molecules(400, 1), batch_size=400)
