"""Cross-validation by hand on the wine cultivars with one feature that is noise-ridden; fold 0 is the validation fold.

Fault: the training rows are "all folds" instead of "all folds but this one".
Symptom: val accuracy 1.000, as good as on the training rows; held out properly 0.750.
Source: deepchecks' train-test samples mix; Kapoor & Narayanan 2023 (no clean split, in 17 fields).
"""
import lightning as L
import numpy as np
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["split-overlap"]
TRAINER = dict(max_epochs=60)


class Classifier(L.LightningModule):
    def __init__(self, n_in=30):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 2))
        self.ce = nn.CrossEntropyLoss()

    def training_step(self, batch, batch_idx):
        loss = self.ce(self.model(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self.model(batch[0])
        self.log("val_loss", self.ce(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build(fold=0):
    x, y = make_classification(300, 30, n_informative=6, flip_y=0.15, random_state=0)
    x, y = torch.tensor(x / x.std(0)).float(), torch.tensor(y)
    folds = np.array_split(np.random.default_rng(0).permutation(300), 5)
    held_out = folds[fold]
    rows = np.concatenate(folds)
    return (Classifier(), DataLoader(TensorDataset(x[rows], y[rows]), batch_size=20, shuffle=True),
            DataLoader(TensorDataset(x[held_out], y[held_out]), batch_size=60))
