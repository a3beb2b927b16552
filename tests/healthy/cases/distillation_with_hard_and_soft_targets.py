"""Distillation with kl_div of log-probabilities against log-targets plus cross-entropy; the teacher is a frozen, wider network.

Looks odd: log_softmax goes into kl_div (right), log targets, two losses, parameters of the teacher without gradient and optimizer.
It learns: val accuracy 0.887.
Guards activation-loss-mismatch, missing-from-optimizer, no-gradient, initial-loss.
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, temperature=2.0)]


def trained_teacher(x, y):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


class Distil(L.LightningModule):
    def __init__(self, teacher, temperature):
        super().__init__()
        self.t = temperature
        self.teacher = teacher
        self.student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))

    def training_step(self, batch, batch_idx):
        x, y = batch
        scores = self.student(x)
        soft = F.kl_div((scores / self.t).log_softmax(1), (self.teacher(x) / self.t).log_softmax(1), reduction="batchmean", log_target=True)
        loss = 0.5 * self.t**2 * soft + 0.5 * F.cross_entropy(scores, y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.student(batch[0])
        self.log("val_loss", F.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), lr=5e-3)


def build(temperature=4.0):
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Distil(trained_teacher(x[:1400], y[:1400]), temperature), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
