"""Classifies recordings of machine vibration of different lengths by a packed GRU; a batch is sorted by length for the packing.

Fault: `collate` sorts the recordings, but takes the states of the machine in the order in which the items came.
Symptom: training and validation loss stay at ln 3 (1.10), val accuracy 0.31; with one order 0.002 and 1.00.
Source: pytorch forums (pack_padded_sequence with enforce_sorted: labels not sorted with the sequences).
"""
import lightning as L
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

RULES = ["misaligned-labels", "loss-not-decreasing", "prediction-collapse", "below-baseline"]
TRAINER = {"max_epochs": 6}


class Recordings(Dataset):
    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.state = torch.randint(0, 3, (n,), generator=generator)
        self.signal = []
        for state in self.state.tolist():
            t = torch.arange(int(torch.randint(16, 40, (1,), generator=generator)))
            phase = 6.28 * torch.rand(2, generator=generator)
            wave = torch.sin((0.4 + 0.5 * state) * t[:, None] + phase)
            self.signal.append(wave + 0.4 * torch.randn(len(t), 2, generator=generator))

    def __len__(self):
        return len(self.state)

    def __getitem__(self, i):
        return self.signal[i], self.state[i]


def collate(items):
    ordered = sorted(items, key=lambda item: -len(item[0]))
    signals = [signal for signal, _ in ordered]
    lengths = torch.tensor([len(signal) for signal in signals])
    return pad_sequence(signals, batch_first=True), lengths, torch.stack([state for _, state in items])


class StateReader(L.LightningModule):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 3)

    def forward(self, signals, lengths):
        return self.head(self.gru(pack_padded_sequence(signals, lengths.cpu(), batch_first=True))[1][-1])

    def step(self, batch, name):
        signals, lengths, state = batch
        logits = self(signals, lengths)
        loss = nn.functional.cross_entropy(logits, state)
        accuracy = (logits.argmax(1) == state).float().mean()
        self.log_dict({f"{name}_loss": loss, f"{name}_acc": accuracy}, batch_size=len(state))
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    return (StateReader(), DataLoader(Recordings(1500, 0), batch_size=30, shuffle=True, collate_fn=collate),
            DataLoader(Recordings(300, 1), batch_size=60, collate_fn=collate))
