"""A support-vector-like classifier: labels -1 and +1, soft margin or hand-written hinge loss.

Looks odd: labels are -1 and +1 (as these losses want), most losses are exactly zero with the hinge. It learns: val accuracy 0.985.
Guards invalid-target, initial-loss, output-range-mismatch.
"""
import lightning as L
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=15)
REACHES = ("val_acc", ">", 0.93)
VARIANTS = [dict(), dict(seed=1, hinge=True)]


class Margin(L.LightningModule):
    def __init__(self, hinge):
        super().__init__()
        self.hinge = hinge
        self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def loss(self, score, sign):
        return torch.relu(1 - score * sign).mean() if self.hinge else F.soft_margin_loss(score, sign)

    def training_step(self, batch, batch_idx):
        loss = self.loss(self.net(batch[0]).squeeze(1), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        score = self.net(batch[0]).squeeze(1)
        self.log("val_loss", self.loss(score, batch[1]))
        self.log("val_acc", (score.sign() == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build(hinge=False):
    x, y = make_moons(1000, noise=0.15, random_state=0)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(2 * y - 1).float()
    return (Margin(hinge), DataLoader(TensorDataset(x[:800], y[:800]), batch_size=40, shuffle=True),
            DataLoader(TensorDataset(x[800:], y[800:]), batch_size=200))
