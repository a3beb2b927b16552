"""Logistic regression fitted by LBFGS on one full batch: the closure runs the step several times.

Looks odd: one batch an epoch, learning rate 1, the training step is called up to ten times for one batch, a linear model.
It learns: val accuracy 0.971.
Guards learning-rate-too-high, missing-nonlinearity, short runs.
"""
import lightning as L
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_acc", ">", 0.92)
VARIANTS = [dict(), dict(seed=1, l2=0.01)]


class Logistic(L.LightningModule):
    def __init__(self, l2):
        super().__init__()
        self.l2 = l2
        self.linear = nn.Linear(30, 2)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.linear(batch[0]), batch[1]) + self.l2 * self.linear.weight.square().sum()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.linear(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=1.0, max_iter=5)


def build(l2=0.001):
    x, y = load_breast_cancer(return_X_y=True)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y))
    train, val = random_split(data, [430, 139], generator=torch.Generator().manual_seed(0))
    return Logistic(l2), DataLoader(train, batch_size=430), DataLoader(val, batch_size=139)
