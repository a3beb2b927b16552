"""Segmentation of bright discs with a small fully convolutional network and BCE with logits.

Fault: the masks come from PNG files and hold 0 and 255 instead of 0 and 1.
Symptom: the loss falls to -2.34e+05 (below zero), val IoU 0.117; with masks / 255 0.799.
Source: milesial/Pytorch-UNet#181 and kin (mask values 255, negative loss).
"""
import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = ["invalid-target", "diverging-loss", "initial-loss"]
TRAINER = dict(max_epochs=5)


class TinyUNet(L.LightningModule):
    def __init__(self, c=8):
        super().__init__()
        self.down = nn.Conv2d(1, c, 3, padding=1)
        self.mid = nn.Conv2d(c, 2 * c, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.out = nn.Conv2d(2 * c, 1, 1)

    def forward(self, x):
        a = F.relu(self.down(x))
        b = F.relu(self.mid(F.max_pool2d(a, 2)))
        return self.out(torch.cat([a, self.up(b)], 1))

    def training_step(self, batch, batch_idx):
        image, mask = batch
        loss = F.binary_cross_entropy_with_logits(self(image), mask)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        image, mask = batch
        found, true = self(image) > 0, mask > 0
        self.log("val_iou", (found & true).sum() / (found | true).sum())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def discs(n, seed):
    g = torch.Generator().manual_seed(seed)
    at = 4 + 8 * torch.rand(n, 2, 1, 1, generator=g)
    r = 2 + 2 * torch.rand(n, 1, 1, generator=g)
    i, j = torch.arange(16.0)[:, None], torch.arange(16.0)[None]
    mask = ((i - at[:, 0]) ** 2 + (j - at[:, 1]) ** 2 < r**2).to(torch.uint8) * 255
    image = mask / 255 + 0.5 * torch.randn(n, 16, 16, generator=g)
    return TensorDataset(image[:, None], mask[:, None].float())


def build():
    return TinyUNet(), DataLoader(discs(400, 0), batch_size=20, shuffle=True), DataLoader(discs(100, 1), batch_size=100)
