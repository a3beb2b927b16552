"""Six classes by gathered log-probabilities, with a shuffle meant for augmentation.

Fault: the labels are permuted inside the step, the inputs are not.
Symptom: val accuracy of the largest class; the loss stays at ln 6.
Source: mixup code of which only the permutation of the labels was kept.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["misaligned-labels", "cannot-overfit-batch", "underfitting", "loss-not-decreasing"]
TRAINER = dict(max_epochs=6)


class Dealt(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 6))

    def training_step(self, batch, batch_idx):
        x, y = batch
        y = y[torch.randperm(len(y))]
        loss = -self.net(x).log_softmax(1).gather(1, y[:, None]).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        acc = (self.net(x).argmax(1) == y).float().mean()
        self.log("val_acc", acc)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1800, 12, generator=g)
    y = (torch.relu(x @ torch.randn(12, 20, generator=g)) @ torch.randn(20, 6, generator=g)).argmax(1)
    data = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 1400), (1400, 1800))]
    return Dealt(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
