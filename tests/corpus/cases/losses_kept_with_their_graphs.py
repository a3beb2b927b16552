"""Segmentation of blobs; the module keeps the loss of each batch to plot it later.

Fault: self.history.append(loss) keeps the nodes of the whole graph of each batch.
Symptom: at the end the graphs of all 120 steps are alive; with loss.item() none is.
Source: Lightning FAQ and PyTorch FAQ: "don't accumulate history across your training loop".
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["memory-growth"]
TRAINER = dict(max_epochs=4)


class Segmenter(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))
        self.history = []

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.binary_cross_entropy_with_logits(self(x), y)
        self.history.append(loss)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.binary_cross_entropy_with_logits(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def blobs(n, seed):
    g = torch.Generator().manual_seed(seed)
    row = torch.arange(32.0)
    c = 6 + 20 * torch.rand(n, 2, generator=g)
    y = (((row[None, :, None] - c[:, 0, None, None]) ** 2 + (row[None, None] - c[:, 1, None, None]) ** 2) < 25).float()
    return TensorDataset((y - 0.1 + 0.5 * torch.randn(n, 32, 32, generator=g)).unsqueeze(1), y.unsqueeze(1))


def build():
    return Segmenter(), DataLoader(blobs(480, 0), batch_size=16, shuffle=True), DataLoader(blobs(64, 1), batch_size=16)
