"""A five-layer ReLU network on digits, weights drawn with nn.init.uniform_ and its default bounds.

Fault: uniform_ draws from (0, 1): all weights positive and far too large, so activations grow twentyfold per layer.
Symptom: first loss 2.53e+05, val accuracy 0.098; with kaiming_uniform_ 0.869.
Source: StackOverflow 49433936 and pytorch forums; Glorot & Bengio 2010; SageMaker's PoorWeightInitialization.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["poor-initialization", "initial-loss", "exploding-gradient", "diverging-loss", "dead-units", "loss-not-decreasing"]
TRAINER = dict(max_epochs=6)


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        sizes = [64, 48, 48, 48, 48]
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(48, 10))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self.net(x)
        self.log("val_loss", nn.functional.cross_entropy(out, y))
        self.log("val_acc", (out.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Digits(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
