"""An MLP on the 8x8 digits whose rate comes down when validation stalls.

Fault: ReduceLROnPlateau(threshold=0.9, patience=0): a check counts as better only where the loss falls by nine tenths at once, so that the
rate is divided by ten in nearly every epoch.
Symptom: validation loss 0.93; with the threshold left at 1e-4 0.16.
Source: Lightning-AI/pytorch-lightning#673, where the relative threshold explains a rate that falls with the loss; pytorch/pytorch#38622.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["scheduler-mismatch", "learning-rate-too-low", "underfitting"]
TRAINER = dict(max_epochs=10)


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0, threshold=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


def build():
    digits = load_digits()
    rows = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    data = TensorDataset(torch.tensor(digits.data / 8 - 1, dtype=torch.float32)[rows], torch.tensor(digits.target)[rows])
    train, held = torch.utils.data.Subset(data, range(1400)), torch.utils.data.Subset(data, range(1400, 1797))
    return Digits(), DataLoader(train, batch_size=50, shuffle=True), DataLoader(held, batch_size=400)
