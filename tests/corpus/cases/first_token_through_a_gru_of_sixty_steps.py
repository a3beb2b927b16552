"""Topic of a log line told by its first token; a GRU reads sixty tokens and answers by its last state.

Fault: nothing carries the first token to the end: the update gates start half open, so nothing of it is left after sixty steps.
Symptom: val loss rises from 1.40 to 1.46 (chance 1.386), accuracy at chance; answering by the first state as well solves it.
Source: questions of the kind "GRU/LSTM loss stuck at ln(classes) on long sequences"; R. Jozefowicz et al. (2015) on forget biases.
"""

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["vanishing-gradient", "overfitting", "loss-not-decreasing", "underfitting", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=8)


class LogTopic(L.LightningModule):
    def __init__(self, vocabulary=9, hidden=28):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, 10)
        self.reader = nn.GRU(10, hidden, batch_first=True)
        self.topic = nn.Linear(hidden, 4)

    def forward(self, line):
        states, _ = self.reader(self.tokens(line))
        return self.topic(states[:, -1])

    def training_step(self, batch, batch_idx):
        line, topic = batch
        loss = F.cross_entropy(self(line), topic)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        line, topic = batch
        scores = self(line)
        self.log("val_loss", F.cross_entropy(scores, topic))
        self.log("val_acc", (scores.argmax(1) == topic).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=4e-3)


def lines(n, seed):
    g = torch.Generator().manual_seed(seed)
    line = torch.randint(9, (n, 60), generator=g)
    return TensorDataset(line, line[:, 0] % 4)


def build():
    return LogTopic(), DataLoader(lines(1400, 0), batch_size=35, shuffle=True), DataLoader(lines(350, 1), batch_size=350)
