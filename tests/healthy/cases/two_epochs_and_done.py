"""A quick look: two epochs on blobs, nothing more.

Looks odd: only two validation points, training stops while the loss still falls. It learns: val accuracy 0.997.
Guards every trend rule, undertrained (info only).
"""
import lightning as L
import torch
from sklearn.datasets import make_blobs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=2)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, lr=1e-2), dict(seed=2, optimizer="sgd", lr=0.1)]


class Quick(L.LightningModule):
    def __init__(self, lr, optimizer):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 6))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        kind = torch.optim.SGD if self.hparams.optimizer == "sgd" else torch.optim.Adam
        return kind(self.parameters(), lr=self.hparams.lr)


def build(lr=5e-3, optimizer="adam"):
    x, y = make_blobs(1600, n_features=10, centers=6, cluster_std=2.5, random_state=0)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y)
    return (Quick(lr, optimizer), DataLoader(TensorDataset(x[:1300], y[:1300]), batch_size=40, shuffle=True),
            DataLoader(TensorDataset(x[1300:], y[1300:]), batch_size=300))
