"""A student learns from labels that are smoothed by hand and from a frozen teacher, with cross-entropies that are written out.

Looks odd: three terms, one of them with probabilities as targets at temperature 3 and times 9; the loss never gets near zero.
It learns: val accuracy 0.9 (0.2 by chance).
Guards activation-loss-mismatch, cannot-overfit-batch, initial-loss, frozen-parameter, loss-not-decreasing.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=5)
REACHES = ("val_acc", ">", 0.8)
VARIANTS = [dict()]


class Student(L.LightningModule):
    def __init__(self, truth):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 5))
        self.teacher = nn.Linear(10, 5, bias=False).requires_grad_(False)
        self.teacher.weight.copy_(2 * truth)

    def training_step(self, batch, batch_idx):
        x, y = batch
        scores = self.net(x)
        log_p = scores.log_softmax(1)
        hard = -log_p.gather(1, y[:, None]).squeeze(1)
        labels = (0.9 * hard - 0.1 * log_p.mean(1)).mean()
        soft = (self.teacher(x) / 3).softmax(1)
        teacher = -(soft * (scores / 3).log_softmax(1)).sum(1).mean()
        loss = 0.5 * labels + 0.5 * 9 * teacher
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self.net(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=5e-3)


def build():
    g = torch.Generator().manual_seed(0)
    truth, x = torch.randn(5, 10, generator=g), torch.randn(1800, 10, generator=g)
    y = (x @ truth.T + 0.3 * torch.randn(1800, 5, generator=g)).argmax(1)
    data = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 1400), (1400, 1800))]
    return Student(truth), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
