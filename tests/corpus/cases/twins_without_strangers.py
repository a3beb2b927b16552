"""An embedding of digits that puts two noisy views of an image near each other.

Fault: nothing keeps different images apart, so all of them are drawn to one point.
Symptom: the loss falls a thousandfold; the spread of the embeddings falls with it, to 1 % of what it was.
Source: collapse of siamese networks without negatives or a stopped gradient; R. Hadsell et al. (2006), X. Chen and K. He (2021).
"""

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["collapsed-embedding", "prediction-collapse", "input-independent"]
TRAINER = dict(max_epochs=10)


class Twins(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 12))

    def pull(self, x):
        one, other = (self.embed(x + 0.2 * torch.randn_like(x)) for _ in range(2))
        return F.mse_loss(one, other)

    def training_step(self, batch, batch_idx):
        loss = self.pull(batch[0])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.pull(batch[0]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    x = torch.tensor((load_digits().data - 4.9) / 6, dtype=torch.float32)
    return Twins(), DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True), DataLoader(TensorDataset(x[1500:]), batch_size=297)
