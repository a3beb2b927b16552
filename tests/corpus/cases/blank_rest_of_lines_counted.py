"""Grammatical kind of each word of a line, by a recurrent network in both directions.

Fault: lines are padded to the longest of their batch with kind 0, and neither the loss nor the accuracy leaves these places out.
Symptom: validation accuracy 0.88, but of the real words 0.39 are right after 8 epochs; with the padding ignored 0.61 of them are.
Source: a common report on sequence taggers: the accuracy is high from the first epoch on, the predictions are nearly all padding.
"""

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

RULES = ["class-imbalance"]
TRAINER = {"max_epochs": 8}
WORDS, KINDS = 60, 6
IGNORED = -1


def lines(count, seed):
    generator = torch.Generator().manual_seed(seed)
    usual = torch.randint(1, KINDS, (WORDS,), generator=torch.Generator().manual_seed(1))
    out = []
    for _ in range(count):
        long = torch.rand((), generator=generator) < 0.05
        words = torch.randint(1, WORDS, (40 if long else int(torch.randint(3, 10, (), generator=generator)),), generator=generator)
        kinds = usual[words]
        kinds[1:] = torch.where(words[:-1] % 3 == 0, 1 + kinds[1:] % (KINDS - 1), kinds[1:])
        out.append((words, kinds))
    return out


def collate(rows):
    words, kinds = zip(*rows, strict=True)
    return {"words": pad_sequence(words, batch_first=True), "kinds": pad_sequence(kinds, batch_first=True)}


class Tagger(L.LightningModule):
    def __init__(self, width=24):
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(WORDS, 16, padding_idx=0)
        self.rnn = nn.GRU(16, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, KINDS)

    def step(self, batch):
        scores = self.head(self.rnn(self.embedding(batch["words"]))[0])
        return scores, F.cross_entropy(scores.flatten(0, 1), batch["kinds"].flatten(), ignore_index=IGNORED)

    def training_step(self, batch, batch_idx):
        return self.step(batch)[1]

    def validation_step(self, batch, batch_idx):
        scores, loss = self.step(batch)
        right = (scores.argmax(-1) == batch["kinds"]).float()
        self.log("val_loss", loss)
        self.log("val_accuracy", right.mean())
        self.log("val_real", right[batch["kinds"] > 0].mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def build():
    train = DataLoader(lines(600, 0), batch_size=32, shuffle=True, collate_fn=collate)
    return Tagger(), train, DataLoader(lines(150, 1), batch_size=50, collate_fn=collate)
