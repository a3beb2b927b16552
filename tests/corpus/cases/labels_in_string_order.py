"""Classification of recorded tones; waveforms are listed by number, labels by file name.

Fault: file names sort as strings ("tone_10" before "tone_2"), so most labels belong to another recording.
Symptom: val accuracy 0.257 for four classes while train loss falls to 1.151; in the same order 1.000.
Source: StackOverflow 55529118 and fastai forums (glob order against CSV order); DeepCrime operator TCL.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["misaligned-labels", "overfitting", "loss-not-decreasing"]
TRAINER = dict(max_epochs=14)


class ToneNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(1, 16, 9, stride=3), nn.Conv1d(16, 16, 5, stride=2)
        self.fc = nn.Linear(16 * 8, 4)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return self.fc(x.flatten(1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (1300,), generator=g)
    t = torch.arange(64.0)
    pitch = torch.tensor([0.3, 0.5, 0.8, 1.2])[label, None]
    wave = torch.sin(pitch * t + 6.28 * torch.rand(1300, 1, generator=g)) + 0.4 * torch.randn(1300, 64, generator=g)
    names = sorted(f"tone_{i}" for i in range(1300))
    label = label[[int(name.split("_")[1]) for name in names]]
    wave = wave[:, None]
    return (ToneNet(), DataLoader(TensorDataset(wave[:1000], label[:1000]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(wave[1000:], label[1000:]), batch_size=300))
