"""A CNN with batch norm and dropout; every training step first makes a preview prediction to log confidence.

Fault: the preview calls self.eval() and nobody calls self.train() again, so all training runs in eval mode: batch norm never sees a
statistic and dropout does nothing.
Symptom: modules stay in eval mode, running variance of the first batch norm stays 1; val accuracy 0.307, with self.train() 1.000.
Source: Lightning-AI/pytorch-lightning#18930, #20216 (training continues in eval mode without a word).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["wrong-mode"]
TRAINER = dict(max_epochs=5)


class Preview(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 16, 5), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 16, 5), nn.BatchNorm1d(16), nn.ReLU(),
            nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3),
        )

    def forward(self, x):
        return self.net(x)

    def preview(self, x):
        self.eval()
        with torch.no_grad():
            return self(x).softmax(1).amax(1).mean()

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.log("confidence", self.preview(x))
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02)


def signals(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    t = torch.arange(40.0)
    x = torch.sin(torch.tensor([0.5, 0.8, 1.1])[y, None] * t + 6.28 * torch.rand(n, 1, generator=g)) * 0.15
    return TensorDataset((x + 0.05 * torch.randn(n, 40, generator=g))[:, None], y)


def build():
    return Preview(), DataLoader(signals(1000, 0), batch_size=40, shuffle=True), DataLoader(signals(300, 1), batch_size=300)
