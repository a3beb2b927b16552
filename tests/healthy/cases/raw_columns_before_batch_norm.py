"""Tumour classification from raw columns (0.002 to 4000) with batch norm as the first layer, batches of 16.

Looks odd: inputs are not normalised at all, but the first layer does it. It learns: val accuracy 0.985.
Guards unnormalized-input, batchnorm-small-batch, initial-loss.
"""
import lightning as L
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_acc", ">", 0.9)
VARIANTS = [dict(), dict(seed=1, batch_size=48), dict(seed=2, batch_size=8)]


class Tumour(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(30)
        self.hidden, self.out = nn.Linear(30, 24), nn.Linear(24, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(self.norm(x)))).squeeze(-1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.binary_cross_entropy_with_logits(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        score = self(batch[0])
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(score, batch[1]))
        self.log("val_acc", ((score > 0) == (batch[1] > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build(batch_size=16):
    x, y = load_breast_cancer(return_X_y=True)
    data = TensorDataset(torch.tensor(x).float(), torch.tensor(y).float())
    train, val = random_split(data, [432, 137], generator=torch.Generator().manual_seed(0))
    return Tumour(), DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(val, batch_size=137)
