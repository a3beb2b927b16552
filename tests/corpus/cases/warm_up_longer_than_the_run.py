"""Causal transformer on a copy task with the "Attention is all you need" warm-up.

Fault: 4000 warm-up steps in a run of 240: the learning rate reaches 6 % of its peak and training ends in warm-up.
Symptom: val loss 2.096; with 40 warm-up steps 0.960 (floor 0.96).
Source: Vaswani et al. 2017 constants copied to small runs; huggingface forums; gradsnitch.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["scheduler-mismatch", "learning-rate-too-low", "underfitting", "loss-not-decreasing"]
TRAINER = dict(max_epochs=8)


class Copier(L.LightningModule):
    def __init__(self, dim=32, warmup=4000):
        super().__init__()
        self.warmup = warmup
        self.embed, self.place = nn.Embedding(8, dim), nn.Embedding(12, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, 8)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1), device=x.device)
        return self.head(self.blocks(self.embed(x) + self.place(torch.arange(x.size(1), device=x.device)), mask=mask, is_causal=True))

    def loss(self, batch):
        x = batch[0]
        return F.cross_entropy(self(x[:, :-1]).transpose(1, 2), x[:, 1:])

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=4e-3)
        ramp = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / self.warmup, (self.warmup / (s + 1)) ** 0.5))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": ramp, "interval": "step"}}


def copies(n, seed):
    half = torch.randint(0, 8, (n, 6), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(torch.cat([half, half], 1))


def build():
    return Copier(), DataLoader(copies(1500, 0), batch_size=50, shuffle=True), DataLoader(copies(300, 1), batch_size=300)
