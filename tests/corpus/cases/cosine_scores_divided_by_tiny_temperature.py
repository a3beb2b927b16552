"""Face-verification-like classifier: cosine similarity to class vectors, scaled by a temperature.

Fault: the temperature is squared by mistake (0.07 ** 2): scores run from -200 to 200 and cross-entropy starts far above ln 10.
Symptom: first loss 64.7 (ln 10 = 2.30), val loss 0.837; with 0.07 first loss 5.072 and val loss 0.432.
Source: openai/CLIP#46-like logit-scale mistakes; Karpathy's recipe (verify loss at init).
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["initial-loss", "poor-initialization", "learning-rate-too-high", "exploding-gradient"]
TRAINER = dict(max_epochs=5)


class CosineNet(L.LightningModule):
    def __init__(self, temperature=0.07):
        super().__init__()
        self.temperature = temperature**2
        self.embed = nn.Sequential(nn.Linear(64, 64), nn.PReLU(), nn.Linear(64, 16))
        self.prototypes = nn.Parameter(torch.randn(10, 16))

    def forward(self, x):
        return F.normalize(self.embed(x)) @ F.normalize(self.prototypes).T / self.temperature

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self(batch[0])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (CosineNet(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
