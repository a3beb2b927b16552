"""Topic classification: word embeddings are averaged and classified by an MLP.

Fault: the pooled vector is taken as `.data` ("to save memory"), so the embedding table never learns and stays random.
Symptom: val accuracy 0.425; without .data 0.938.
Source: pytorch/pytorch#6990 (.data cuts the graph silently); lucidrains-style detached encoders.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["no-gradient", "frozen-parameter"]
TRAINER = dict(max_epochs=6)


class Topics(L.LightningModule):
    def __init__(self, words=400, dim=8, topics=6):
        super().__init__()
        self.words = nn.Embedding(words, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, topics))

    def forward(self, text):
        pooled = self.words(text).mean(dim=1).data
        return self.mlp(pooled)

    def training_step(self, batch, batch_idx):
        text, topic = batch
        loss = nn.functional.cross_entropy(self(text), topic)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        text, topic = batch
        out = self(text)
        self.log("val_loss", nn.functional.cross_entropy(out, topic))
        self.log("val_acc", (out.argmax(1) == topic).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def texts(n, seed):
    g = torch.Generator().manual_seed(seed)
    topic = torch.randint(0, 6, (n,), generator=g)
    own = topic[:, None] * 20 + torch.randint(0, 20, (n, 15), generator=g)
    common = torch.randint(120, 400, (n, 15), generator=g)
    return TensorDataset(torch.where(torch.rand(n, 15, generator=g) < 0.3, own, common), topic)


def build():
    return Topics(), DataLoader(texts(2000, 0), batch_size=50, shuffle=True), DataLoader(texts(400, 1), batch_size=400)
