"""Penguin-like species from a CSV file; pandas read the class column as float because of a header quirk.

Fault: the targets are float32 class ids; cross-entropy takes floats as probabilities and refuses their shape.
Symptom: RuntimeError "expected floating point type for target with class probabilities" or "expected scalar type Long"; with .long() val
accuracy 0.950.
Source: StackOverflow 60440292 ("expected scalar type Long but found Float"), pytorch forums, many.
"""
import lightning as L
import torch
from sklearn.datasets import make_blobs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["invalid-target"]
TRAINER = dict(max_epochs=5)


class Species(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 3))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.layers(batch[0])
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    x, y = make_blobs(500, n_features=4, centers=3, cluster_std=2.0, random_state=0)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y).float()
    return (Species(), DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            DataLoader(TensorDataset(x[400:], y[400:]), batch_size=100))
