"""Fault detection in vibration signals: the recordings of healthy machines and of broken ones are concatenated.

Fault: ConcatDataset([healthy, broken]) with a loader that does not shuffle: 25 batches of one class, then 25 of the other.
Symptom: val accuracy 0.500; with shuffle=True 1.000.
Source: StackOverflow 53032922 (loss jumps when the class changes); DeepCrime's "unshuffled" operator.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

RULES = ["unshuffled-train", "oscillating-loss", "prediction-collapse"]
TRAINER = dict(max_epochs=5)


class Vibration(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(1, 8, 7, stride=2), nn.ReLU(), nn.Conv1d(8, 16, 5, stride=2), nn.ReLU())
        self.head = nn.Linear(16, 1)
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, wave):
        return self.head(self.conv(wave).mean(-1)).squeeze(-1)

    def training_step(self, batch, batch_idx):
        wave, broken = batch
        loss = self.bce(self(wave), broken)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        wave, broken = batch
        score = self(wave)
        self.log_dict({"val_loss": self.bce(score, broken), "val_acc": ((score > 0) == (broken > 0.5)).float().mean()})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def machine(n, broken, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(64.0)
    wave = torch.sin(0.7 * t + 6.28 * torch.rand(n, 1, generator=g)) + 0.3 * torch.randn(n, 64, generator=g)
    if broken:
        wave = wave + 0.6 * torch.sin(2.2 * t + 6.28 * torch.rand(n, 1, generator=g))
    return TensorDataset(wave[:, None], torch.full((n,), float(broken)))


def build():
    train = ConcatDataset([machine(800, False, 0), machine(800, True, 1)])
    val = ConcatDataset([machine(200, False, 2), machine(200, True, 3)])
    return Vibration(), DataLoader(train, batch_size=32), DataLoader(val, batch_size=400)
