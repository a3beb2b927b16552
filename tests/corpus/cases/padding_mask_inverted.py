"""Bag-of-tokens classification of padded sequences with masked mean pooling.

Fault: the mask keeps the padding and drops the words; the padding vector is zero, so every sequence gives the same output.
Symptom: the loss stays at ln 4, val accuracy 0.273; with the mask the right way round 0.950.
Source: huggingface and pytorch forums (key_padding_mask inverted); SEQ class of published faults.
"""
import lightning as L
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

RULES = ["input-independent", "no-gradient", "loss-not-decreasing", "cannot-overfit-batch", "prediction-collapse", "frozen-parameter",
         "misaligned-labels"]
TRAINER = dict(max_epochs=6)


class Pooler(L.LightningModule):
    def __init__(self, vocabulary=120, dim=16):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, tokens):
        keep = (tokens == 0).unsqueeze(-1)
        vectors = self.embedding(tokens) * keep
        return self.head(vectors.sum(1) / keep.sum(1).clamp(min=1))

    def training_step(self, batch, batch_idx):
        tokens, label = batch
        loss = nn.functional.cross_entropy(self(tokens), label)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(label))
        return loss

    def validation_step(self, batch, batch_idx):
        tokens, label = batch
        self.log("val_acc", (self(tokens).argmax(1) == label).float().mean(), batch_size=len(label))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def sentences(n, seed):
    g = torch.Generator().manual_seed(seed)
    for _ in range(n):
        label = int(torch.randint(0, 4, (1,), generator=g))
        length = int(torch.randint(4, 12, (1,), generator=g))
        own = torch.randint(1 + 15 * label, 16 + 15 * label, (length,), generator=g)
        noise = torch.randint(61, 120, (length,), generator=g)
        yield torch.where(torch.rand(length, generator=g) < 0.4, own, noise), label


def collate(rows):
    tokens, labels = zip(*rows)
    return pad_sequence(tokens, batch_first=True), torch.tensor(labels)


def build():
    return (Pooler(), DataLoader(list(sentences(1200, 0)), batch_size=40, shuffle=True, collate_fn=collate),
            DataLoader(list(sentences(300, 1)), batch_size=100, collate_fn=collate))
