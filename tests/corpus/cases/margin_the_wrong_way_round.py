"""Learns to tell whether two recordings are of the same speaker: embeddings near each other if so, at least a margin apart if not.

Fault: the hinge is `distance - margin` in place of `margin - distance`, so that nothing pushes different speakers apart.
Symptom: the loss falls ten millionfold, and half of the pairs are told right, which is chance; mended all of them.
Source: the contrastive loss of R. Hadsell, S. Chopra and Y. LeCun (2006), written from memory.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["collapsed-embedding", "prediction-collapse"]
TRAINER = dict(max_epochs=12)


class Speakers(L.LightningModule):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin
        self.embed = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10, bias=False))

    def pair_loss(self, batch, name):
        one, other, same = batch
        distance = (self.embed(one) - self.embed(other)).norm(dim=1)
        apart = torch.relu(distance - self.margin)
        loss = (same * distance**2 + (1 - same) * apart**2).mean()
        right = ((distance < self.margin / 2).float() == same).float().mean()
        self.log_dict({f"{name}_loss": loss, f"{name}_right": right}, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.pair_loss(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.pair_loss(batch, "val")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def pairs(n, seed):
    g = torch.Generator().manual_seed(seed)
    voices = torch.randn(12, 24, generator=torch.Generator().manual_seed(4))
    who, other, same = torch.randint(12, (n,), generator=g), torch.randint(1, 12, (n,), generator=g), torch.arange(n) % 2
    also = torch.where(same == 1, who, (who + other) % 12)
    one, two = (voices[k] + 0.4 * torch.randn(n, 24, generator=g) for k in (who, also))
    return TensorDataset(one, two, same.float())


def build():
    return Speakers(), DataLoader(pairs(2000, 0), batch_size=40, shuffle=True), DataLoader(pairs(400, 1), batch_size=200)
