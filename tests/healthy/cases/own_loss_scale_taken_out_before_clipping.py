"""Manual optimisation with a loss scale of its own: gradients are divided by it by hand, and clipped to a norm that nearly all have.

Looks odd: the optimizer gets a thousandth of what the backward pass gave, with nearly one norm from step to step, and a hook stops the
gradients of all rows of the embedding but the rare ones.
It learns: val loss 0.56 (log 5 = 1.61 at chance).
Guards clipping-dominates, accumulation-mismatch, learning-rate-too-low, learning-rate-too-high, frozen-parameter.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_loss", "<", 0.8)
VARIANTS = [dict()]


class Bags(L.LightningModule):
    def __init__(self, scale=1024.0):
        super().__init__()
        self.automatic_optimization = False
        self.scale = scale
        self.words = nn.Embedding(40, 16)
        self.net = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 5))
        rare = torch.zeros(40, 1)
        rare[30:] = 1
        self.words.weight.register_hook(lambda gradient: gradient * rare)

    def forward(self, x):
        return self.net(self.words(x).mean(1))

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        optimizer.zero_grad()
        self.manual_backward(loss * self.scale)
        for p in self.parameters():
            p.grad.div_(self.scale)
        nn.utils.clip_grad_norm_(self.parameters(), 0.1)
        optimizer.step()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)


def rows(n, seed):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 5, (n,), generator=g)
    own = torch.randint(0, 8, (n, 12), generator=g) + 8 * label[:, None]
    other = torch.randint(0, 40, (n, 12), generator=g)
    return TensorDataset(torch.where(torch.rand(n, 12, generator=g) < 0.4, own, other), label)


def build():
    return Bags(), DataLoader(rows(3200, 0), batch_size=32, shuffle=True), DataLoader(rows(500, 1), batch_size=500)
