"""A student network learns the class probabilities of a larger one, by the KL divergence.

Fault: F.kl_div wants log-probabilities as its first argument and gets probabilities.
Symptom: the loss starts negative and falls to -1.233, agreement with the teacher 0.890; with log_softmax 0.903.
Source: pytorch/pytorch#32520 and forums ("KLDivLoss returns negative"); distillation tutorials' errata.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["activation-loss-mismatch", "initial-loss"]
TRAINER = dict(max_epochs=8)


def teacher():
    torch.manual_seed(31)
    net = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 4))
    with torch.no_grad():
        net[2].weight.mul_(14)
    return net.requires_grad_(False)


class Student(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.teacher = teacher()
        self.student = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 4))

    def loss(self, x):
        return F.kl_div(F.softmax(self.student(x), dim=1), F.softmax(self.teacher(x), dim=1), reduction="batchmean")

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch[0])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x = batch[0]
        self.log("val_loss", self.loss(x))
        self.log("val_agree", (self.student(x).argmax(1) == self.teacher(x).argmax(1)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), lr=3e-3)


def build():
    x = torch.randn(1800, 6, generator=torch.Generator().manual_seed(0))
    return Student(), DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True), DataLoader(TensorDataset(x[1500:]), batch_size=300)
