"""Leaf-shape classification; the regularisation was added to the end of the network.

Fault: Dropout(0.5) stands after the last linear layer: in training half of the class scores are set to zero at random.
Symptom: train loss 0.662 against val loss 0.203; without it 0.130 and 0.182.
Source: pytorch forums (dropout on the output layer); UMLAUT; RGL class of published faults.
"""
import lightning as L
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = ["excessive-dropout", "underfitting", "suspicious-validation", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=12)


class Leaf(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(16, 64), nn.Linear(64, 5)

    def forward(self, x):
        x = self.fc2(F.relu(self.fc1(x)))
        return F.dropout(x, 0.5, training=self.training)

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", F.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    x, y = make_classification(1500, 16, n_informative=10, n_classes=5, n_clusters_per_class=1, class_sep=1.5, random_state=0)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y))
    return (Leaf(), DataLoader(torch.utils.data.Subset(data, range(1200)), batch_size=40, shuffle=True),
            DataLoader(torch.utils.data.Subset(data, range(1200, 1500)), batch_size=300))
