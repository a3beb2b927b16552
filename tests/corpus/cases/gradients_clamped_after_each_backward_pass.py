"""Two interleaved classes of a spiral, plain SGD, gradients clamped in a hook of training against explosions.

Fault: the clamp lets a hundred thousandth through of each entry, a hundredth of what they are; the limit sets the step, not the gradient.
Symptom: val loss 0.48, accuracy 0.69; with a limit of 0.5 val loss below 0.001, accuracy 1.0.
Source: common recipe (clamp of `p.grad` in on_after_backward, from code for recurrent networks) with a limit for another model.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["clipping-dominates", "learning-rate-too-low", "underfitting"]
TRAINER = dict(max_epochs=20)


class Spirals(L.LightningModule):
    def __init__(self, limit=1e-5):
        super().__init__()
        self.limit = limit
        self.net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_after_backward(self):
        for p in self.parameters():
            p.grad.clamp_(-self.limit, self.limit)

    def validation_step(self, batch, batch_idx):
        scores = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)


def points(n, seed):
    g = torch.Generator().manual_seed(seed)
    label, way = torch.randint(0, 2, (n,), generator=g), torch.rand(n, generator=g)
    angle = 4.5 * way + torch.pi * label
    spiral = torch.stack([angle.cos(), angle.sin()], 1) * (0.3 + 1.5 * way[:, None])
    return TensorDataset(spiral + 0.08 * torch.randn(n, 2, generator=g), label)


def build():
    return Spirals(), DataLoader(points(1600, 0), batch_size=40, shuffle=True), DataLoader(points(500, 1), batch_size=500)
