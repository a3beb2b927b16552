"""A linear probe: the backbone is frozen, runs with gradients enabled and its own eval mode; features are standardised by buffers.

Looks odd: the only trainable layer is linear, the backbone's modules stand in eval mode while training. It learns: val accuracy 0.919.
Guards wrong-mode, missing-nonlinearity, missing-from-optimizer, no-gradient.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_acc", ">", 0.88)
VARIANTS = [dict(), dict(seed=1, features=96)]


class Probe(L.LightningModule):
    def __init__(self, backbone, features, sample):
        super().__init__()
        self.backbone = backbone.eval()
        for p in self.backbone.parameters():
            p.requires_grad = False
        with torch.no_grad():
            h = self.backbone(sample)
        self.register_buffer("mean", h.mean(0))
        self.register_buffer("std", h.std(0) + 1e-3)
        self.probe = nn.Linear(features, 10)

    def on_train_epoch_start(self):
        self.backbone.eval()

    def forward(self, x):
        return self.probe((self.backbone(x) - self.mean) / self.std)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.probe.parameters(), lr=0.05, momentum=0.9)


def build(features=128):
    d = load_digits()
    x, y = torch.tensor(d.images / 16).float()[:, None], torch.tensor(d.target)
    backbone = nn.Sequential(nn.Conv2d(1, features // 4, 5), nn.BatchNorm2d(features // 4), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(0.2), nn.Flatten())
    return (Probe(backbone, features, x[:500]), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
