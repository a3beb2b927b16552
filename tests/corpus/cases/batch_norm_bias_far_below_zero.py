"""A conv net with batch norm before ReLU; the normalisation is initialised by hand to "start sparse".

Fault: gain 0.1 and bias -2 put every pre-activation at least 10 deviations below zero: all units are dead and no gradient passes.
Symptom: the loss stays at ln 3, val accuracy 0.307; with bias 0 and gain 1 1.000.
Source: Lu et al. 2019 (dying ReLU by initialisation); AUTOTRAINER's dying-ReLU models.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["dead-units", "poor-initialization", "input-independent", "no-gradient", "cannot-overfit-batch", "loss-not-decreasing",
         "prediction-collapse", "frozen-parameter", "vanishing-gradient"]
TRAINER = dict(max_epochs=5)


class SparseStart(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv1d(1, 12, 7), nn.BatchNorm1d(12)
        nn.init.constant_(self.bn.weight, 0.1)
        nn.init.constant_(self.bn.bias, -2.0)
        self.fc = nn.Linear(12 * 2, 3)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(nn.functional.adaptive_max_pool1d(x, 2).flatten(1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def pulses(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    shape = torch.stack([torch.ones(6), torch.linspace(-1.5, 1.5, 6), torch.tensor([1.5, -1, 1.5, -1, 1.5, -1])])
    x = 0.3 * torch.randn(n, 1, 36, generator=g)
    for i, at in enumerate(torch.randint(0, 30, (n,), generator=g).tolist()):
        x[i, 0, at : at + 6] += shape[y[i]]
    return TensorDataset(x, y)


def build():
    return SparseStart(), DataLoader(pulses(1000, 0), batch_size=40, shuffle=True), DataLoader(pulses(300, 1), batch_size=300)
