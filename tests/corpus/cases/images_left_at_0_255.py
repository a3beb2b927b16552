"""Ten-class thumbnails (8 x 8, stored as uint8) into an MLP trained with momentum SGD.

Fault: the images are cast to float but not divided by 255.
Symptom: val accuracy 0.103, train loss 2.305 after 8 epochs; scaled to [0, 1] 0.909 and 0.112.
Source: StackOverflow 47352366 and 45711636 (inputs not scaled, DeepFD/DeepLocalize sets); UMLAUT's input-range rule.
"""
import lightning as L
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

RULES = ["unnormalized-input", "learning-rate-too-high", "dead-units", "loss-not-decreasing", "prediction-collapse", "initial-loss"]
TRAINER = dict(max_epochs=8)


class Thumbnails(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]).float(), int(self.labels[i])


class Mlp(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(-1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.03, momentum=0.9)


def build():
    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    return (Mlp(), DataLoader(Thumbnails(images[:1400], digits.target[:1400]), 32, shuffle=True),
            DataLoader(Thumbnails(images[1400:], digits.target[1400:]), 397))
