"""Three regression tasks; each sample has a label for only some of them (a mask comes with the batch), custom collate.

Looks odd: one head has no target in some batches and gets no gradient there; missing labels are stored as 0.
It learns: val loss 0.16.
Guards no-gradient, constant-feature, invalid-target.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_loss", "<", 0.3)
VARIANTS = [dict()]


def collate(rows):
    x, targets = zip(*rows)
    mask = torch.tensor([[t is not None for t in row] for row in targets])
    values = torch.tensor([[0.0 if t is None else t for t in row] for row in targets])
    return {"x": torch.stack(x), "target": values, "mask": mask}


class MultiTask(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 48), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(48, 1) for _ in range(3))

    def forward(self, x):
        h = self.trunk(x)
        return torch.cat([head(h) for head in self.heads], 1)

    def loss(self, batch):
        error = (self(batch["x"]) - batch["target"]) ** 2
        return (error * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["x"]))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch), batch_size=len(batch["x"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def rows(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    y = torch.stack([x[:, 0] * x[:, 1], torch.sin(2 * x[:, 2]), x[:, 3] - x[:, 4]], 1)
    seen = torch.rand(n, 3, generator=g) < torch.tensor([0.9, 0.5, 0.1])
    return [(a, [float(v) if s else None for v, s in zip(b, m)]) for a, b, m in zip(x, y, seen)]


def build():
    return (MultiTask(), DataLoader(rows(1000, 0), batch_size=16, shuffle=True, collate_fn=collate),
            DataLoader(rows(300, 1), batch_size=100, collate_fn=collate))
