"""Tells motifs in sequences apart by an LSTM between locked dropouts (one mask for all steps of a sequence), written by hand.

Fault: the mask is drawn with the rate to drop (0.15) as the probability of keeping a unit, so that 85 % of them are dropped.
Symptom: train loss 1.609 (ln 5), val accuracy 0.368 after ten epochs; with the mask drawn by 1 - rate 0.026 and 0.995.
Source: locked dropout as in the AWD-LSTM code, whose mask is `bernoulli_(1 - dropout)`.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["excessive-dropout", "underfitting", "learning-rate-too-low", "cannot-overfit-batch", "suspicious-validation"]
TRAINER = dict(max_epochs=10)


def lock(states, rate, training):
    if not training:
        return states
    mask = states.new_empty(len(states), 1, states.shape[2]).bernoulli_(rate)
    return states * mask / (1 - rate)


class Motifs(L.LightningModule):
    def __init__(self, rate=0.15, hidden=40):
        super().__init__()
        self.rate = rate
        self.embed = nn.Embedding(12, 24)
        self.first = nn.LSTM(24, hidden, batch_first=True)
        self.second = nn.LSTM(hidden, hidden, batch_first=True)
        self.score = nn.Linear(hidden, 5)

    def forward(self, tokens):
        states, _ = self.first(lock(self.embed(tokens), self.rate, self.training))
        states, _ = self.second(lock(states, self.rate, self.training))
        return self.score(lock(states, self.rate, self.training).amax(1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=4e-3)


def sequences(n, seed):
    g = torch.Generator().manual_seed(seed)
    motifs = torch.randint(12, (5, 3), generator=torch.Generator().manual_seed(3))
    x, y = torch.randint(12, (n, 16), generator=g), torch.randint(5, (n,), generator=g)
    start = torch.randint(13, (n, 1), generator=g)
    return TensorDataset(x.scatter(1, start + torch.arange(3), motifs[y]), y)


def build():
    return Motifs(), DataLoader(sequences(1600, 0), batch_size=32, shuffle=True), DataLoader(sequences(400, 1), batch_size=200)
