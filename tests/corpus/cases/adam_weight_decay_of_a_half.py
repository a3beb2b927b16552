"""A conv net on digits with Adam and its weight_decay argument.

Fault: weight_decay=0.5 in Adam (where it is added to the gradient): the penalty's gradient is far larger than the data's.
Symptom: val accuracy 0.098, val loss 2.303; with 1e-5 0.889.
Source: Loshchilov & Hutter 2019 on Adam's L2; RGL class of published faults; DeepCrime operator RAW.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["weight-decay-dominates", "prediction-collapse", "underfitting", "loss-not-decreasing"]
TRAINER = dict(max_epochs=6)


class DecayNet(L.LightningModule):
    def __init__(self, weight_decay=0.5):
        super().__init__()
        self.save_hyperparameters()
        self.features = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.features(x))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3, weight_decay=self.hparams.weight_decay)


def build():
    d = load_digits()
    x, y = torch.tensor(d.images / 16).float()[:, None], torch.tensor(d.target)
    return (DecayNet(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
