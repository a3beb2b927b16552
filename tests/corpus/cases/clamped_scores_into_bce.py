"""Loan default prediction with binary_cross_entropy.

Fault: BCE complained about values outside [0, 1], so the raw score is clamped to that range instead of being passed through a sigmoid.
Symptom: val loss 0.293, val accuracy 0.920: most rows sit at a bound and get no gradient; with a sigmoid 0.190 and
0.930.
Source: pytorch forums "all elements of input should be between 0 and 1", with this as a given answer.
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from torch.nn import Linear
from torch.utils.data import DataLoader, TensorDataset

RULES = ["activation-loss-mismatch", "no-gradient", "initial-loss", "cannot-overfit-batch", "loss-not-decreasing", "prediction-collapse"]
TRAINER = dict(max_epochs=10)


class Default(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.a, self.b = Linear(10, 32), Linear(32, 1)

    def forward(self, x):
        score = self.b(torch.relu(self.a(x)))[:, 0]
        return score.clamp(1e-6, 1 - 1e-6)

    def training_step(self, batch, batch_idx):
        loss = F.binary_cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        p = self(batch[0])
        self.log("val_loss", F.binary_cross_entropy(p, batch[1]))
        self.log("val_acc", ((p > 0.5) == (batch[1] > 0.5)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    x, y = make_classification(1800, 10, n_informative=6, flip_y=0.02, class_sep=1.2, random_state=4)
    data = TensorDataset(torch.tensor(x / x.std(0)).float(), torch.tensor(y).float())
    rows = torch.utils.data.random_split(data, [1500, 300], generator=torch.Generator().manual_seed(0))
    return Default(), DataLoader(rows[0], batch_size=50, shuffle=True), DataLoader(rows[1], batch_size=300)
