"""Sleep-stage classification; the model returns a dataclass with logits and probabilities, batches are dataclasses too.

Fault: the loss takes output.probabilities instead of output.logits: softmax twice.
Symptom: val loss 0.796, which cannot fall below 0.74 for four classes, val accuracy 0.963; with the logits 0.229 and
0.957.
Source: pytorch/pytorch#55902; huggingface-style model outputs.
"""
from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

RULES = ["activation-loss-mismatch"]
TRAINER = dict(max_epochs=6)


@dataclass
class Night:
    signal: Tensor
    stage: Tensor


@dataclass
class Output:
    logits: Tensor
    probabilities: Tensor


class SleepNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 48), nn.LeakyReLU(), nn.Linear(48, 4))
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.02)

    def forward(self, night):
        logits = self.body(night.signal)
        return Output(logits, logits.softmax(-1))

    def training_step(self, night, batch_idx):
        loss = self.criterion(self(night).probabilities, night.stage)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(night.stage))
        return loss

    def validation_step(self, night, batch_idx):
        out = self(night)
        self.log("val_loss", self.criterion(out.probabilities, night.stage), batch_size=len(night.stage))
        self.log("val_acc", (out.logits.argmax(1) == night.stage).float().mean(), batch_size=len(night.stage))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def nights(n, seed):
    g = torch.Generator().manual_seed(seed)
    stage = torch.randint(0, 4, (n,), generator=g)
    centre = torch.randn(4, 20, generator=torch.Generator().manual_seed(5))
    return list(zip(0.6 * centre[stage] + torch.randn(n, 20, generator=g), stage))


def collate(rows):
    signal, stage = zip(*rows)
    return Night(torch.stack(signal), torch.stack(stage))


def build():
    return (SleepNet(), DataLoader(nights(1200, 0), batch_size=40, shuffle=True, collate_fn=collate),
            DataLoader(nights(300, 1), batch_size=300, collate_fn=collate))
