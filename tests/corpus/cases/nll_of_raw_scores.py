"""Letter classification (synthetic strokes) with nll_loss.

Fault: the log_softmax was lost when the network was rewritten; raw scores go into nll_loss, which is just minus the target's score.
Symptom: the loss falls without bound (-82.6), val accuracy 0.223; with log_softmax val accuracy 0.967.
Source: pytorch forums "negative loss with NLLLoss"; pytorch/examples issues; NeuraLint's wrong-loss-input rule.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["activation-loss-mismatch", "diverging-loss", "initial-loss"]
TRAINER = dict(max_epochs=6)


class Letters(L.LightningModule):
    def __init__(self, n_letters=8):
        super().__init__()
        self.encoder = nn.LSTM(2, 24, batch_first=True)
        self.decoder = nn.Linear(24, n_letters)

    def forward(self, strokes):
        out, _ = self.encoder(strokes)
        return self.decoder(out.mean(1))

    def training_step(self, batch, batch_idx):
        strokes, letter = batch
        loss = F.nll_loss(self(strokes), letter)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        strokes, letter = batch
        scores = self(strokes)
        self.log("val_loss", F.nll_loss(scores, letter))
        self.log("val_acc", (scores.argmax(1) == letter).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-2)


def strokes(n, seed):
    template = torch.randn(8, 12, 2, generator=torch.Generator().manual_seed(11)).cumsum(1) / 3
    g = torch.Generator().manual_seed(seed)
    letter = torch.randint(0, 8, (n,), generator=g)
    return TensorDataset(template[letter] + 0.5 * torch.randn(n, 12, 2, generator=g), letter)


def build():
    return Letters(), DataLoader(strokes(1200, 0), batch_size=40, shuffle=True), DataLoader(strokes(300, 1), batch_size=300)
