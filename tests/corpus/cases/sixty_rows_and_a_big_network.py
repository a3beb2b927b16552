"""Response to a therapy from 40 measurements of 60 patients, half of them unrelated to it.

Fault: 25 000 weights for 60 noisy rows, 120 epochs, no regularisation and no early stopping.
Symptom: train loss 0.000, val loss rises from 0.684 to 1.489; stopped after 6 epochs 0.647.
Source: the textbook case; SageMaker's Overfit rule; RGL class of published faults.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["overfitting"]
TRAINER = dict(max_epochs=120)


class Response(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def patients(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 40, generator=g)
    y = (x[:, :20].sum(1) / 20**0.5 + 1.0 * torch.randn(n, generator=g) > 0).long()
    return TensorDataset(x, y)


def build():
    return Response(), DataLoader(patients(60, 0), batch_size=10, shuffle=True), DataLoader(patients(200, 1), batch_size=200)
