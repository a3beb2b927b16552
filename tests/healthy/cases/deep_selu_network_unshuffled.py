"""Eight SELU layers with LeCun initialisation and momentum SGD at 0.02 on two moons, 400 rows.

Looks odd: deep without normalisation, momentum SGD, unshuffled rows that are independent draws. It learns: val accuracy 0.990.
Guards vanishing-gradient, exploding-gradient, learning-rate-too-high, unshuffled-train.
"""
import lightning as L
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=15)
REACHES = ("val_acc", ">", 0.93)
VARIANTS = [dict(), dict(seed=1, shuffle=True, depth=6)]


class Selu(L.LightningModule):
    def __init__(self, depth):
        super().__init__()
        layers, size = [], 2
        for _ in range(depth):
            layers += [nn.Linear(size, 24), nn.SELU()]
            size = 24
        self.net = nn.Sequential(*layers, nn.Linear(24, 1))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")

    def training_step(self, batch, batch_idx):
        loss = nn.functional.binary_cross_entropy_with_logits(self.net(batch[0]).squeeze(1), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0]).squeeze(1)
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(out, batch[1]))
        self.log("val_acc", ((out > 0) == (batch[1] > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def build(depth=8, shuffle=False):
    x, y = make_moons(600, noise=0.15, random_state=0)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y).float()
    return (Selu(depth), DataLoader(TensorDataset(x[:400], y[:400]), batch_size=20, shuffle=shuffle),
            DataLoader(TensorDataset(x[400:], y[400:]), batch_size=200))
