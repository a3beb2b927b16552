"""Wine cultivars from a CSV file whose class column runs from 1 to 3.

Fault: the labels go into cross-entropy as they are, so class 3 is outside the three outputs.
Symptom: IndexError "Target 3 is out of bounds" in the sanity check; with y - 1 val accuracy 0.958.
Source: StackOverflow 55513652 ("Target 3 is out of bounds"), pytorch forums, many.
"""
import lightning as L
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["invalid-target", "wrong-output-size"]
TRAINER = dict(max_epochs=15)


class Wine(L.LightningModule):
    def __init__(self, classes=3):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, classes))
        self.loss = nn.CrossEntropyLoss()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self.net(x)
        self.log("val_loss", self.loss(out, y))
        self.log("val_acc", (out.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    x, y = load_wine(return_X_y=True)
    cultivar = torch.tensor(y) + 1  # the file counts from 1
    x = torch.tensor((x - x.mean(0)) / x.std(0)).float()
    train, val = random_split(TensorDataset(x, cultivar), [130, 48], generator=torch.Generator().manual_seed(0))
    return Wine(), DataLoader(train, batch_size=26, shuffle=True), DataLoader(val, batch_size=48)
