"""Fall detection from short acceleration windows, standardised per window inside forward().

Fault: a window in which the sensor stood still has standard deviation 0, and 0 / 0 is NaN (no epsilon).
Symptom: the loss is NaN from the first still window on, val accuracy 0.487; with an epsilon 1.000.
Source: StackOverflow 33962226-like division by a zero std; NUM class of published faults.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

RULES = ["non-finite"]
TRAINER = dict(max_epochs=5)


class Windows(Dataset):
    def __init__(self, n, seed, still=0.003):
        g = torch.Generator().manual_seed(seed)
        self.fall = torch.randint(0, 2, (n,), generator=g).float()
        t = torch.arange(30.0)
        wave = torch.sin(0.5 * t + 6.28 * torch.rand(n, 1, generator=g))
        bump = torch.exp(-((t - 5 - 20 * torch.rand(n, 1, generator=g)) ** 2) / 4)
        self.x = wave + 4 * self.fall[:, None] * bump + 0.2 * torch.randn(n, 30, generator=g)
        quiet = torch.rand(n, generator=g) < still
        self.x[quiet] = 0.0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"window": self.x[i], "fall": self.fall[i]}


class FallNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 8, 5), nn.ReLU(), nn.MaxPool1d(4), nn.Flatten(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, window):
        x = (window - window.mean(1, keepdim=True)) / window.std(1, keepdim=True)
        return self.net(x.unsqueeze(1)).squeeze(1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.binary_cross_entropy_with_logits(self(batch["window"]), batch["fall"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        score = self(batch["window"])
        self.log("val_acc", ((score > 0) == (batch["fall"] > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    return FallNet(), DataLoader(Windows(1500, 0), batch_size=50, shuffle=True), DataLoader(Windows(300, 1, still=0), batch_size=300)
