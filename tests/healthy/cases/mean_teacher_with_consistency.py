"""Semi-supervised classification: few labels, a consistency loss against an exponential moving average of the student.

Looks odd: half of the parameters (the teacher, a deep copy) get no gradient and are in no optimizer but change; the loss has a part that
first rises; most rows carry the label -1 and are masked out. It learns: val accuracy of the teacher 0.932.
Guards missing-from-optimizer, no-gradient, frozen-parameter, invalid-target.
"""
import copy

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_acc", ">", 0.8)
VARIANTS = [dict(), dict(seed=1, labelled=0.4)]


class MeanTeacher(L.LightningModule):
    def __init__(self, decay=0.95):
        super().__init__()
        self.decay = decay
        self.student = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def training_step(self, batch, batch_idx):
        x, y = batch
        known = y >= 0
        scores = self.student(x + 0.1 * torch.randn_like(x))
        with torch.no_grad():
            target = self.teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
        supervised = F.cross_entropy(scores[known], y[known])
        loss = supervised + 2.0 * F.mse_loss(scores.softmax(1), target)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.student.parameters()):
                slow.lerp_(fast, 1 - self.decay)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        scores = self.teacher(x)
        self.log("val_loss", F.cross_entropy(scores, y))
        self.log("val_acc", (scores.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), lr=3e-3)


def build(labelled=0.25):
    d = load_digits()
    g = torch.Generator().manual_seed(0)
    rows = torch.randperm(1797, generator=g)
    x, y = torch.tensor(d.data / 16).float()[rows], torch.tensor(d.target)[rows]
    seen = y[:1400].clone()
    seen[torch.rand(1400, generator=g) > labelled] = -1
    return (MeanTeacher(), DataLoader(TensorDataset(x[:1400], seen), batch_size=100, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
