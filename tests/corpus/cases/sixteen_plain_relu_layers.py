"""A narrow, sixteen-layer ReLU network on digits with the default initialisation, no normalisation and no skip connection.

Fault: nn.Linear's default shrinks the signal by about 0.4 per ReLU layer; after sixteen layers neither the input nor the gradient gets
through.
Symptom: the loss stays at ln 10, val accuracy 0.098; with skip connections 0.924.
Source: He et al. 2015; StackOverflow 52073337 and AUTOTRAINER's vanishing-gradient models.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["vanishing-gradient", "poor-initialization", "cannot-overfit-batch", "loss-not-decreasing", "prediction-collapse",
         "input-independent"]
TRAINER = dict(max_epochs=6)


def block(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())


class Tower(L.LightningModule):
    def __init__(self, depth=16, width=32):
        super().__init__()
        self.stem = block(64, width)
        self.tower = nn.ModuleList(block(width, width) for _ in range(depth - 1))
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.tower:
            x = layer(x)
        return self.out(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def build():
    d = load_digits()
    x, y = torch.tensor((d.data - 4.9) / 6).float(), torch.tensor(d.target)
    return (Tower(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
