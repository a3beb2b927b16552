"""Each step of a noisy sequence is tagged with its own state by a bidirectional LSTM.

Looks odd: the output at t depends on later inputs, as it may: the target is the state at t, not the next one.
It learns: val accuracy 0.923.
Guards future-leakage, wrong-softmax-axis, invalid-target.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=5)
REACHES = ("val_acc", ">", 0.8)
VARIANTS = [dict(), dict(seed=1, hidden=32)]


class Tagger(L.LightningModule):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.LSTM(2, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, 3)

    def training_step(self, batch, batch_idx):
        logits = self.fc(self.rnn(batch["x"])[0])
        loss = nn.functional.cross_entropy(logits.permute(0, 2, 1), batch["state"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        logits = self.fc(self.rnn(batch["x"])[0])
        self.log("val_loss", nn.functional.cross_entropy(logits.permute(0, 2, 1), batch["state"]))
        self.log("val_acc", (logits.argmax(-1) == batch["state"]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=8e-3)


def sequences(n, seed, steps=20):
    g = torch.Generator().manual_seed(seed)
    state = [torch.randint(0, 3, (n,), generator=g)]
    while len(state) < steps:
        jump = torch.rand(n, generator=g) < 0.15
        state.append(torch.where(jump, torch.randint(0, 3, (n,), generator=g), state[-1]))
    state = torch.stack(state, 1)
    x = torch.tensor([[-1.0, 0], [0, 1], [1, -0.5]])[state] + 0.8 * torch.randn(n, steps, 2, generator=g)
    return [{"x": a, "state": b} for a, b in zip(x, state)]


def build(hidden=24):
    return Tagger(hidden), DataLoader(sequences(800, 0), batch_size=40, shuffle=True), DataLoader(sequences(200, 1), batch_size=200)
