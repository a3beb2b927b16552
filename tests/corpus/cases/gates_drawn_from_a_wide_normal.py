"""Which of two symbols comes more often in a short sequence, by an LSTM.

Fault: its weights are drawn with a standard deviation of 5; every gate is thrown from one bound to the other by each symbol.
Symptom: val accuracy 0.5, loss at ln 2; with torch's own first weights it is solved.
Source: TheDeepChecker (saturated activations); "should I initialise LSTM weights by hand" threads.
"""

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["saturated-units", "poor-initialization", "loss-not-decreasing", "underfitting", "vanishing-gradient", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=8)
SPREAD = 5.0


class Counter(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 24, batch_first=True)
        for weight in self.lstm.parameters():
            nn.init.normal_(weight, std=SPREAD)
        self.more = nn.Linear(24, 2)

    def forward(self, x):
        _, (last, _) = self.lstm(x)
        return self.more(last[-1])

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self(batch[0])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def sequences(n, seed):
    g = torch.Generator().manual_seed(seed)
    symbols = torch.randint(3, (n, 15), generator=g)
    return TensorDataset(F.one_hot(symbols, 3).float(), ((symbols == 1).sum(1) > (symbols == 2).sum(1)).long())


def build():
    return Counter(), DataLoader(sequences(1500, 0), batch_size=50, shuffle=True), DataLoader(sequences(400, 1), batch_size=400)
