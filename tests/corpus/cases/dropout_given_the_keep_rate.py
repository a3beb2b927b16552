"""Classification of spectra; dropout rates were ported from a framework where the number is the rate to keep.

Fault: nn.Dropout(0.9) drops nine of ten units in each of three layers (keep 0.9, i.e. Dropout(0.1), was meant).
Symptom: train loss 1.784, val accuracy 0.153; with Dropout(0.1) 0.019 and 0.977.
Source: TensorFlow 1 to PyTorch ports (keep_prob); UMLAUT's dropout rule; DeepCrime operator RCD.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["excessive-dropout", "underfitting", "loss-not-decreasing", "prediction-collapse", "suspicious-validation"]
TRAINER = dict(max_epochs=8)


class Spectra(L.LightningModule):
    def __init__(self, keep=0.9):
        super().__init__()
        layers, size = [], 40
        for _ in range(3):
            layers += [nn.Linear(size, 48), nn.ReLU(), nn.Dropout(keep)]
            size = 48
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(48, 6)

    def forward(self, x):
        return self.classifier(self.features(x))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def spectra(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (n,), generator=g)
    lines = torch.rand(6, 40, generator=torch.Generator().manual_seed(12)) < 0.2
    return TensorDataset(lines[y] * torch.rand(n, 40, generator=g) * 2 + 0.5 * torch.randn(n, 40, generator=g), y)


def build():
    return Spectra(), DataLoader(spectra(1200, 0), batch_size=40, shuffle=True), DataLoader(spectra(300, 1), batch_size=300)
