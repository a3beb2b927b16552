"""Stages of sleep, one per half minute of a night, by a recurrent network over features of the night's signal.

Fault: nights of different length are padded with stage 0 and the loss ignores 0, but stage 0 is "awake" and never trained.
Symptom: validation recall of "awake" 0.0 and accuracy 0.75 over the real half minutes; padded with -100 both are 0.98.
Source: nyu-mll/jiant#925 (the index that pads the tags is also the first tag).
"""

import lightning as L
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

RULES = ["unpredicted-class"]
TRAINER = {"max_epochs": 6}
STAGES = ["awake", "light", "deep", "dream"]
NO_STAGE = 0


def nights(count, seed):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(STAGES), 8, generator=torch.Generator().manual_seed(9))
    out = []
    for _ in range(count):
        length = int(torch.randint(20, 41, (), generator=generator))
        turns = (torch.rand(length, generator=generator) < 0.25).cumsum(0)
        stages = torch.randint(0, len(STAGES), (length + 1,), generator=generator)[turns]
        out.append((centres[stages] + torch.randn(length, 8, generator=generator), stages))
    return out


def collate(rows):
    signals, stages = zip(*rows, strict=True)
    lengths = torch.tensor([len(s) for s in stages])
    return pad_sequence(signals, batch_first=True), pad_sequence(stages, batch_first=True, padding_value=NO_STAGE), lengths


class SleepStager(L.LightningModule):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(8, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, len(STAGES))
        self.loss = nn.CrossEntropyLoss(ignore_index=NO_STAGE)

    def forward(self, signals, lengths):
        packed = pack_padded_sequence(signals, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0])

    def training_step(self, batch, batch_idx):
        signals, stages, lengths = batch
        loss = self.loss(self(signals, lengths).flatten(0, 1), stages.flatten())
        self.log("train_loss", loss, batch_size=len(lengths))
        return loss

    def validation_step(self, batch, batch_idx):
        signals, stages, lengths = batch
        scores = self(signals, lengths)
        real = torch.arange(stages.shape[1]) < lengths[:, None]
        right = (scores.argmax(-1) == stages)[real].float()
        self.log("val_loss", self.loss(scores.flatten(0, 1), stages.flatten()), batch_size=len(lengths))
        self.log("val_accuracy", right.mean(), batch_size=len(lengths))
        self.log("val_awake", right[stages[real] == 0].mean(), batch_size=len(lengths))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    train = DataLoader(nights(400, 0), batch_size=20, shuffle=True, collate_fn=collate)
    return SleepStager(), train, DataLoader(nights(100, 1), batch_size=50, collate_fn=collate)
