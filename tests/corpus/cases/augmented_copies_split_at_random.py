"""Texture patches, enlarged by 4 copies of each patch "for augmentation", then split at random.

Fault: the copies are made before random_split, so nearly every validation patch has a twin in training.
Symptom: val accuracy 0.989; split first, then copied: 0.529.
Source: StackOverflow 62745734 (augmentation before the split); Kapoor & Narayanan 2023, "duplicates across splits".
"""
import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["split-overlap"]
TRAINER = dict(max_epochs=8)


class PatchNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 16, 48)
        self.out = nn.Linear(48, 4)

    def forward(self, image):
        h = F.max_pool2d(F.gelu(self.conv(image)), 3, padding=1)
        return self.out(F.gelu(self.fc(h.flatten(1))))

    def step(self, batch, stage):
        patch, label = batch
        logits = self(patch)
        loss = F.cross_entropy(logits, label)
        self.log(f"{stage}_loss", loss, on_step=False, on_epoch=True)
        self.log(f"{stage}_acc", (logits.argmax(1) == label).float().mean(), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(1)
    label = torch.randint(0, 4, (320,), generator=g)
    base = torch.randn(4, 1, 10, 10, generator=g)
    patch = 0.25 * base[label] + torch.randn(320, 1, 10, 10, generator=g)
    patch, label = patch.repeat(4, 1, 1, 1), label.repeat(4)
    train, val = random_split(TensorDataset(patch, label), [1000, 280], generator=g)
    return PatchNet(), DataLoader(train, batch_size=40, shuffle=True), DataLoader(val, batch_size=280)
