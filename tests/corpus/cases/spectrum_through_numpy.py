"""Period detection: a learned filter, the power spectrum of its output, a classifier.

Fault: the spectrum is computed with numpy on a detached copy, so the filter in front of it gets no gradient.
Symptom: val accuracy 0.533; with torch.fft 1.000.
Source: pytorch forums (numpy inside forward breaks the graph); GRA class of published faults.
"""
import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["no-gradient", "frozen-parameter"]
TRAINER = dict(max_epochs=8)


class SpectrumNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.filter = nn.Conv1d(6, 1, 5, padding=2)
        self.classify = nn.Sequential(nn.LayerNorm(17), nn.Linear(17, 24), nn.ReLU(), nn.Linear(24, 3))

    def forward(self, channels):
        wave = self.filter(channels).squeeze(1)
        power = np.abs(np.fft.rfft(wave.detach().cpu().numpy(), axis=1)) ** 2
        return self.classify(torch.as_tensor(power, dtype=torch.float32, device=wave.device))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def recordings(n, seed):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (n,), generator=g)
    t = torch.arange(32.0)
    tone = torch.sin(torch.tensor([0.6, 1.0, 1.4])[label, None] * t + 6.28 * torch.rand(n, 1, generator=g))
    other = torch.randn(n, 6, 32, generator=g)
    other[:, 2] = 0.7 * tone + 0.5 * other[:, 2]
    return TensorDataset(other, label)


def build():
    return SpectrumNet(), DataLoader(recordings(1500, 0), batch_size=50, shuffle=True), DataLoader(recordings(300, 1), batch_size=300)
