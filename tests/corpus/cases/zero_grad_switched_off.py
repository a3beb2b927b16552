"""Tabular classification; a hook is overridden to try a trick and left in.

Fault: optimizer_zero_grad is overridden with `pass`, so every step uses the sum of all gradients so far.
Symptom: val accuracy 0.380, train loss 0.683; without the override 0.946 and 0.022.
Source: StackOverflow 44732217 (why call zero_grad); OPT class of published faults; torch-preflight TG003.
"""
import lightning as L
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["missing-zero-grad", "diverging-loss", "oscillating-loss", "exploding-gradient", "loss-not-decreasing"]
TRAINER = dict(max_epochs=15)


class Tumour(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        pass

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3)


def build():
    x, y = load_breast_cancer(return_X_y=True)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y))
    train, val = random_split(data, [440, 129], generator=torch.Generator().manual_seed(0))
    return Tumour(), DataLoader(train, batch_size=20, shuffle=True), DataLoader(val, batch_size=129)
