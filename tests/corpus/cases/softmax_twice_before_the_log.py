"""Six classes by the negative log-likelihood, picked by index from a log-softmax in the step.

Fault: the network ends in a softmax already, and the step takes the log-softmax of its probabilities.
Symptom: the loss stays above 1.04 and the network learns slowly.
Source: StackOverflow 57516027 and many others: softmax applied twice.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["activation-loss-mismatch", "cannot-overfit-batch", "underfitting"]
TRAINER = dict(max_epochs=6)


class Six(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 6), nn.Softmax(dim=1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        log_p = torch.log_softmax(self.net(x), dim=1)
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
    return Six(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
