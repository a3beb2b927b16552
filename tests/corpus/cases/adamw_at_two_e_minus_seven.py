"""A small transformer encoder tells which of two motifs a token sequence contains.

Fault: the learning rate 2e-7 was copied from the last stage of a large model's schedule.
Symptom: the loss goes from 0.679 to 0.675 in 8 epochs, val accuracy 0.590; with 2e-3 1.000.
Source: DeepCrime operator HLR; huggingface forums on fine-tuning rates for training from scratch.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["learning-rate-too-low", "loss-not-decreasing", "underfitting"]
TRAINER = dict(max_epochs=8)


class Motif(L.LightningModule):
    def __init__(self, lr=2e-7, dim=32):
        super().__init__()
        self.save_hyperparameters()
        self.embed = nn.Embedding(12, dim)
        self.place = nn.Parameter(0.1 * torch.randn(16, dim))
        self.encoder = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(dim, 1)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens) + self.place).mean(1)).squeeze(-1)

    def training_step(self, batch, batch_idx):
        tokens, y = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self(tokens), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        tokens, y = batch
        self.log("val_acc", ((self(tokens) > 0) == (y > 0.5)).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)


def motifs(n, seed):
    g = torch.Generator().manual_seed(seed)
    tokens, y = torch.randint(4, 12, (n, 16), generator=g), torch.randint(0, 2, (n,), generator=g)
    at = torch.randint(0, 14, (n,), generator=g)
    tokens[torch.arange(n), at], tokens[torch.arange(n), at + 1] = y, y + 2
    return TensorDataset(tokens, y.float())


def build():
    return Motif(), DataLoader(motifs(1000, 0), batch_size=50, shuffle=True), DataLoader(motifs(300, 1), batch_size=300)
