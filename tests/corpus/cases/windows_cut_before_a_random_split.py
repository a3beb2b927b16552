"""Which of four machines a vibration was recorded on: windows that overlap by three quarters are cut first and then split at random.

Fault: nearly every validation window shares most of its values with training windows.
Symptom: validation follows training closely, and recordings of another day are answered worse.
Source: Kapoor and Narayanan (2023), leakage through dependent samples.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = ["split-overlap"]
TRAINER = dict(max_epochs=8)


def recordings(length):
    generator = torch.Generator().manual_seed(3)
    t = torch.arange(float(length))
    waves = [torch.sin(t * pace) + 0.6 * torch.randn(length, generator=generator) for pace in (0.3, 0.5, 0.8, 1.3)]
    return torch.stack(waves)


def windows(series, width=24, step=6):
    cut = series.unfold(1, width, step)
    return TensorDataset(cut.reshape(-1, width), torch.arange(len(series)).repeat_interleave(cut.shape[1]))


class Machines(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 4))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    series = recordings(2400)
    train, val = random_split(windows(series), [0.75, 0.25], generator=torch.Generator().manual_seed(0))
    return Machines(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=128)
