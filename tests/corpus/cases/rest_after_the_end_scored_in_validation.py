"""Labels each moment of movement recordings of different length (rest, walk, run) with a convolution over time.

Fault: training gives what comes after a recording's end the label that the loss ignores, validation gives it "rest".
Symptom: val accuracy 0.86 after one epoch and 0.96 at the end; of the moments that were recorded 0.47 and 0.83.
Source: own experience; forum questions on accuracies of padded sequences.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["suspicious-validation", "split-shift"]
TRAINER = dict(max_epochs=6)


class Moments(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(3, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 3, 1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch["x"].transpose(1, 2)), batch["y"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self.net(batch["x"].transpose(1, 2))
        self.log("val_loss", nn.functional.cross_entropy(scores, batch["y"]))
        self.log("val_acc", (scores.argmax(1) == batch["y"]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def recordings(n, seed):
    made, out = torch.Generator().manual_seed(seed), []
    for _ in range(n):
        parts = torch.randint(0, 3, (int(torch.randint(1, 5, (1,), generator=made)),), generator=made)
        y = parts.repeat_interleave(10)
        wave = torch.sin(torch.arange(len(y)) * (0.3 + 0.5 * y)) * (0.2 + 0.5 * (y > 0))
        out.append((wave[:, None] * torch.tensor([1.0, 0.5, -0.5]) + 0.4 * torch.randn(len(y), 3, generator=made), y))
    return out


def together(rows, after=-100, length=120):
    x, y = torch.zeros(len(rows), length, 3), torch.full((len(rows), length), after)
    for i, (values, labels) in enumerate(rows):
        x[i, : len(values)], y[i, : len(labels)] = values, labels
    return {"x": x, "y": y}


def build():
    return (
        Moments(),
        DataLoader(recordings(600, 0), batch_size=30, shuffle=True, collate_fn=together),
        DataLoader(recordings(200, 1), batch_size=50, collate_fn=lambda rows: together(rows, after=0)),
    )
