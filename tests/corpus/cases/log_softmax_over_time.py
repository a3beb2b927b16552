"""Tagging each step of a sequence with one of four states; the model returns log-probabilities for NLLLoss.

Fault: the output is (batch, time, class) and log_softmax runs over dim=1, which is time.
Symptom: val loss 2.381, val accuracy 0.687; over the last axis 0.268 and 0.905.
Source: pytorch/pytorch#1020 (implicit dim of softmax) and forum threads on sequence tagging.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["wrong-softmax-axis", "activation-loss-mismatch", "initial-loss"]
TRAINER = dict(max_epochs=6)


class Tagger(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, 4)
        self.loss = nn.NLLLoss()

    def forward(self, x):
        return self.fc(self.rnn(x)[0]).log_softmax(dim=1)

    def training_step(self, batch, batch_idx):
        x, state = batch
        loss = self.loss(self(x).flatten(0, 1), state.flatten())
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, state = batch
        out = self(x)
        self.log("val_loss", self.loss(out.flatten(0, 1), state.flatten()))
        self.log("val_acc", (out.argmax(-1) == state).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def sequences(n, seed, steps=18):
    g = torch.Generator().manual_seed(seed)
    state = torch.randint(0, 4, (n, 1), generator=g).repeat(1, steps)
    for t in range(1, steps):
        jump = torch.rand(n, generator=g) < 0.2
        state[:, t] = torch.where(jump, torch.randint(0, 4, (n,), generator=g), state[:, t - 1])
    level = torch.tensor([[-1.0, 0.5, 0], [1, 0, 0.5], [0, -1, 1], [0.5, 1, -1]])
    return TensorDataset(level[state] + 0.8 * torch.randn(n, steps, 3, generator=g), state)


def build():
    return Tagger(), DataLoader(sequences(800, 0), batch_size=40, shuffle=True), DataLoader(sequences(200, 1), batch_size=200)
