"""Four steps ahead from the last 24 of a seasonal series with a slow trend; the last fifth validates, windows overlap.

Looks odd: train and validation come from different times with a mild drift, neighbouring windows are nearly the same, targets are slices
of the same series. It learns: val loss 0.045 (variance 1).
Guards split-shift, split-overlap, unshuffled-train, future-leakage.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_loss", "<", 0.12)
VARIANTS = [dict(), dict(seed=1, hidden=96), dict(seed=2, shuffle=False)]


class Windows(Dataset):
    def __init__(self, series):
        self.series = series

    def __len__(self):
        return len(self.series) - 28

    def __getitem__(self, i):
        return self.series[i : i + 24], self.series[i + 24 : i + 28]


class Forecast(L.LightningModule):
    def __init__(self, hidden):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(24, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 4))

    def forward(self, past):
        return past[:, -1:] + self.net(past - past[:, -1:])

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build(hidden=64, shuffle=True):
    t = torch.arange(2000.0)
    series = torch.sin(t / 12 * 6.2832) + 0.5 * torch.sin(t / 84 * 6.2832) + 0.0001 * t
    series = (series + 0.12 * torch.randn(2000, generator=torch.Generator().manual_seed(0))) / 0.8
    cut = 1600
    return (Forecast(hidden), DataLoader(Windows(series[:cut]), batch_size=50, shuffle=shuffle),
            DataLoader(Windows(series[cut:]), batch_size=200))
