"""Wine cultivars trained on the Brier score: softmax in the model, squared error against one-hot targets.

Looks odd: a softmax before the loss and one-hot floats as targets, which is right for a squared error. It learns: val accuracy 0.938.
Guards activation-loss-mismatch, invalid-target, output-range-mismatch, initial-loss.
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = []
TRAINER = dict(max_epochs=25)
REACHES = ("val_acc", ">", 0.9)
VARIANTS = [dict(), dict(seed=1, summed=True)]


class Brier(L.LightningModule):
    def __init__(self, summed):
        super().__init__()
        self.summed = summed
        self.net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3), nn.Softmax(dim=1))

    def loss(self, p, y):
        gap = (p - F.one_hot(y, 3).float()) ** 2
        return gap.sum(1).mean() if self.summed else F.mse_loss(p, F.one_hot(y, 3).float())

    def training_step(self, batch, batch_idx):
        loss = self.loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        p = self.net(batch[0])
        self.log("val_loss", self.loss(p, batch[1]))
        self.log("val_acc", (p.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build(summed=False):
    x, y = load_wine(return_X_y=True)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y))
    train, val = random_split(data, [130, 48], generator=torch.Generator().manual_seed(2))
    return Brier(summed), DataLoader(train, batch_size=13, shuffle=True), DataLoader(val, batch_size=48)
