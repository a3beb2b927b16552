"""A bidirectional transformer fills in masked tokens of periodic sequences; other positions have the target -100 (ignored).

Looks odd: position t sees the future (it is meant to), most targets are -100, the first loss is that of few tokens, masks are random.
It learns: val loss 0.635 (ln 10 = 2.30).
Guards future-leakage, invalid-target, initial-loss, cannot-overfit-batch.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_loss", "<", 0.7)
VARIANTS = [dict(), dict(seed=1, dim=48, lr=3e-3)]
VOCAB, LENGTH, MASK = 10, 16, 10


class FillIn(L.LightningModule):
    def __init__(self, dim, lr):
        super().__init__()
        self.lr = lr
        self.embed, self.place = nn.Embedding(VOCAB + 1, dim), nn.Parameter(0.2 * torch.randn(LENGTH, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(dim, VOCAB)

    def forward(self, tokens):
        return self.out(self.encoder(self.embed(tokens) + self.place))

    def step(self, batch):
        (tokens,) = batch
        hide = torch.rand(tokens.shape, device=tokens.device) < 0.2
        logits = self(tokens.masked_fill(hide, MASK))
        return F.cross_entropy(logits.transpose(1, 2), tokens.masked_fill(~hide, -100))

    def training_step(self, batch, batch_idx):
        loss = self.step(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def periodic(n, seed):
    motif = torch.randint(0, VOCAB, (n, 2), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(motif.repeat(1, 8))


def build(dim=32, lr=5e-3):
    return FillIn(dim, lr), DataLoader(periodic(1500, 0), batch_size=50, shuffle=True), DataLoader(periodic(300, 1), batch_size=300)
