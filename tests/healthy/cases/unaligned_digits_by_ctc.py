"""Reading a strip of two to four symbols without alignment by CTC; targets are concatenated with lengths.

Looks odd: a loss that needs four tensors, an extra blank class, targets shorter than the output, log_softmax over dim 2 of (T, N, C).
It learns: val loss 0.018.
Guards wrong-softmax-axis, invalid-target, wrong-output-size, initial-loss (not run for CTC).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_loss", "<", 1.0)
VARIANTS = [dict(), dict(seed=1, hidden=48)]


class Reader(L.LightningModule):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.GRU(6, hidden, bidirectional=True)
        self.out = nn.Linear(2 * hidden, 6)
        self.ctc = nn.CTCLoss(zero_infinity=True)

    def step(self, batch):
        strip, symbols, lengths = batch
        log_p = self.out(self.rnn(strip.transpose(0, 1))[0]).log_softmax(2)
        steps = torch.full((len(lengths),), log_p.size(0), dtype=torch.long)
        return self.ctc(log_p, symbols, steps, lengths)

    def training_step(self, batch, batch_idx):
        loss = self.step(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch), batch_size=len(batch[0]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def strips(n, seed):
    look = torch.randn(6, 6, generator=torch.Generator().manual_seed(9))
    g = torch.Generator().manual_seed(seed)
    for _ in range(n):
        k = int(torch.randint(2, 5, (1,), generator=g))
        symbols = torch.randint(1, 6, (k,), generator=g)
        strip = 0.3 * torch.randn(12, 6, generator=g)
        for i, s in enumerate(symbols.tolist()):
            strip[3 * i : 3 * i + 2] += look[s]
        yield strip, symbols


def collate(rows):
    strips, symbols = zip(*rows)
    return torch.stack(strips), torch.cat(symbols), torch.tensor([len(s) for s in symbols])


def build(hidden=32):
    load = lambda rows, **k: DataLoader(list(rows), collate_fn=collate, **k)
    return Reader(hidden), load(strips(1000, 0), batch_size=40, shuffle=True), load(strips(200, 1), batch_size=200)
