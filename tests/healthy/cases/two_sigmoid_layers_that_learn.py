"""The old textbook network: two sigmoid layers, mean squared error on one-hot targets, inputs in [0, 1].

Looks odd: sigmoid hidden units, sigmoid outputs under a squared error for classification, pixels not centred.
It learns: val accuracy 0.909.
Guards vanishing-gradient, saturated-units, output-range-mismatch, activation-loss-mismatch, unnormalized-input.
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=20)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, hidden=64)]


class Textbook(L.LightningModule):
    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.out = nn.Linear(64, hidden), nn.Linear(hidden, 10)

    def forward(self, x):
        return torch.sigmoid(self.out(torch.sigmoid(self.hidden(x))))

    def training_step(self, batch, batch_idx):
        loss = F.mse_loss(self(batch[0]), F.one_hot(batch[1], 10).float())
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", F.mse_loss(out, F.one_hot(batch[1], 10).float()))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def build(hidden=40):
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Textbook(hidden), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
