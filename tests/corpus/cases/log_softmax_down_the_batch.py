"""Six classes by picked log-probabilities.

Fault: the log-softmax runs over the samples of the batch instead of the classes.
Symptom: the loss starts near ln 50 and accuracy stays poor.
Source: StackOverflow 52513802, implicit dimension of softmax.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["wrong-softmax-axis", "sample-leakage", "activation-loss-mismatch"]
TRAINER = dict(max_epochs=6)


class Down(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 6))

    def training_step(self, batch, batch_idx):
        x, y = batch
        log_p = self.net(x).log_softmax(0)
        loss = -log_p[torch.arange(len(y)), y].mean()
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
    return Down(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
