"""Spectra of three minerals, one file each, with a table of labels beside them.

Fault: the files are listed in the order of their names (s1, s10, s100, s101 ...), the table is in the order of the numbers.
Symptom: the training loss ends at nothing, val accuracy 0.410; with files in the order of the table 1.000.
Source: forum reports of sorted(glob(...)) against a csv; a wide network, which learns any labels by heart.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["misaligned-labels", "overfitting"]
TRAINER = dict(max_epochs=25)
COUNT, BINS, MINERALS = 900, 160, 3


def files():
    """File name to spectrum, and the table of labels."""
    g = torch.Generator().manual_seed(5)
    label = torch.randint(0, MINERALS, (COUNT,), generator=g)
    peaks = torch.rand(MINERALS, 4, generator=g) * BINS
    grid = torch.arange(BINS).float()
    spectra = {}
    for i in range(COUNT):
        height, shift = torch.rand(4, 1, generator=g) + 0.5, torch.randn(1, generator=g)
        lines = (height * torch.exp(-(((grid - peaks[label[i]][:, None] - shift) / 3) ** 2))).sum(0)
        spectra[f"s{i + 1}"] = lines + 0.1 * torch.randn(BINS, generator=g)
    return spectra, label


class Minerals(L.LightningModule):
    def __init__(self, width=600):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(BINS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, MINERALS)
        )

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def build():
    spectra, label = files()
    x = torch.stack([spectra[name] for name in sorted(spectra)])
    x = (x - x.mean()) / x.std()
    train, val = TensorDataset(x[:700], label[:700]), TensorDataset(x[700:], label[700:])
    return Minerals(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=100)
