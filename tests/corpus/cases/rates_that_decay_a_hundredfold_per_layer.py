"""Fine-tuning recipe with one parameter group per layer and discriminative rates.

Fault: the decay per layer is 0.01 where 0.9 is usual: the first layer gets 2e-3 * 1e-8 and stays at its random start.
Symptom: the loss falls from 2.31 to 2.29 only, val accuracy 0.217; with 0.9 0.756.
Source: layer-wise rates of ELECTRA and BEiT (0.65 to 0.9 per layer), with a typing error.
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["frozen-parameter", "learning-rate-too-low", "loss-not-decreasing"]
TRAINER = dict(max_epochs=10)


class Layered(L.LightningModule):
    def __init__(self, lr=2e-3, decay=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.ModuleList([nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 10)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        deepest = len(self.layers) - 1
        groups = [{"params": layer.parameters(), "lr": self.hparams.lr * self.hparams.decay ** (deepest - i)} for i, layer in enumerate(self.layers)]
        return torch.optim.Adam(groups)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
    return Layered(), DataLoader(TensorDataset(x[:1400], y[:1400]), 50, shuffle=True), DataLoader(TensorDataset(x[1400:], y[1400:]), 397)
