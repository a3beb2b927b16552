"""A one-layer transformer that predicts the next value of a bit stream with a hidden rule (parity of two earlier bits).

Fault: the boolean mask marks what may be attended instead of what may not: position t sees only positions after t.
Symptom: val loss 0.050; with the mask the right way round 0.391.
Source: pytorch/pytorch#92554-like confusion (attn_mask True means "not allowed" in one API and "allowed" in the other).
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["future-leakage"]
TRAINER = dict(max_epochs=10)


class BitModel(L.LightningModule):
    def __init__(self, dim=32, length=16):
        super().__init__()
        self.embed = nn.Embedding(3, dim)
        self.place = nn.Parameter(0.3 * torch.randn(length, dim))
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))
        self.head = nn.Linear(dim, 2)

    def forward(self, bits):
        n = bits.size(1)
        h = self.embed(bits) + self.place[:n]
        allowed = torch.ones(n, n, dtype=torch.bool, device=bits.device).tril()
        allowed[:, 0] = False
        h = h + self.attention(h, h, h, attn_mask=allowed, need_weights=False)[0]
        return self.head(h + self.mlp(h))

    def step(self, batch):
        (bits,) = batch
        start = torch.full_like(bits[:, :1], 2)
        logits = self(torch.cat([start, start, bits[:, :-1]], 1))[:, 1:]
        return F.cross_entropy(logits.flatten(0, 1), bits.flatten())

    def training_step(self, batch, batch_idx):
        loss = self.step(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=4e-3)


def streams(n, seed, length=14):
    g = torch.Generator().manual_seed(seed)
    bits = [torch.randint(0, 2, (n,), generator=g) for _ in range(2)]
    while len(bits) < length:
        flip = (torch.rand(n, generator=g) < 0.1).long()
        bits.append(bits[-2] ^ flip)
    return TensorDataset(torch.stack(bits, 1))


def build():
    return BitModel(), DataLoader(streams(1200, 0), batch_size=40, shuffle=True), DataLoader(streams(300, 1), batch_size=300)
