"""Detection of a common defect (25 % of the parts) with class weights.

Fault: the weights are the class frequencies instead of their inverse, squared for good measure: the defect class weighs a ninth, and is
never predicted.
Symptom: recall of the defect class 0.000, val accuracy 0.748; with inverse frequencies recall 0.728.
Source: pytorch forums (CrossEntropyLoss weight inverted); scikit-learn's "balanced" formula.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["prediction-collapse", "unpredicted-class", "below-baseline"]
TRAINER = dict(max_epochs=8)


class Defects(L.LightningModule):
    def __init__(self, frequency):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
        self.loss = nn.CrossEntropyLoss(weight=frequency**2)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = self.loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        guess = self(x).argmax(1)
        self.log("val_acc", (guess == y).float().mean())
        self.log("val_recall", (guess[y == 1] == 1).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def parts(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, generator=g) < 0.25).long()
    return TensorDataset(torch.randn(n, 6, generator=g) + 0.5 * y[:, None], y)


def build():
    train = parts(2000, 0)
    frequency = torch.bincount(train.tensors[1]) / len(train)
    return Defects(frequency), DataLoader(train, batch_size=50, shuffle=True), DataLoader(parts(600, 1), batch_size=600)
