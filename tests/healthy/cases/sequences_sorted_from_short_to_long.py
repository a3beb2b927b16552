"""Counting task on token sequences, sorted from easy (short) to hard (long); no shuffling on purpose.

Looks odd: the training loader keeps its order and later batches look unlike early ones; the training loss rises within an epoch.
It learns: val loss 0.006.
Guards unshuffled-train, diverging-loss, split-shift.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_loss", "<", 0.1)
VARIANTS = [dict()]


class Counter(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 16, padding_idx=0)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, tokens):
        return self.head(self.gru(self.embed(tokens))[0][:, -1]).squeeze(1)

    def training_step(self, batch, batch_idx):
        loss = F.smooth_l1_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.smooth_l1_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def sequences(n, seed, by_length):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 10, (n, 12), generator=g)
    length = torch.randint(3, 13, (n,), generator=g)
    if by_length:
        length = length.sort().values
    tokens[torch.arange(12) < 12 - length[:, None]] = 0
    return TensorDataset(tokens, (tokens > 6).sum(1).float() / 2)


def build():
    return Counter(), DataLoader(sequences(1200, 0, True), batch_size=40), DataLoader(sequences(300, 1, False), batch_size=100)
