"""MAML on sine waves: one inner gradient step with create_graph inside the loss of a task.

Looks odd: autograd.grad inside training_step, one item is a whole task (support and query set).
It learns: val loss after adaptation 0.057.
Guards no-gradient, sample-leakage, underfitting.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=6, inference_mode=False)
REACHES = ("val_loss", "<", 0.12)
VARIANTS = [dict()]


class MAML(L.LightningModule):
    def __init__(self, inner_lr=0.05):
        super().__init__()
        self.inner_lr = inner_lr
        self.w1, self.b1 = nn.Parameter(torch.randn(32, 1)), nn.Parameter(torch.randn(32))
        self.w2, self.b2 = nn.Parameter(torch.randn(1, 32) / 6), nn.Parameter(torch.zeros(1))

    def net(self, x, weights):
        w1, b1, w2, b2 = weights
        return F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2)

    def adapted_loss(self, batch):
        losses = []
        for xs, ys, xq, yq in zip(*batch):
            weights = [self.w1, self.b1, self.w2, self.b2]
            with torch.enable_grad():
                support = F.mse_loss(self.net(xs, weights), ys)
                grads = torch.autograd.grad(support, weights, create_graph=True)
            fast = [w - self.inner_lr * g for w, g in zip(weights, grads)]
            losses.append(F.mse_loss(self.net(xq, fast), yq))
        return torch.stack(losses).mean()

    def training_step(self, batch, batch_idx):
        loss = self.adapted_loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.adapted_loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def tasks(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = 4 * torch.rand(n, 20, 1, generator=g) - 2
    y = (0.5 + torch.rand(n, 1, 1, generator=g)) * torch.sin(1.5 * x + torch.rand(n, 1, 1, generator=g))
    return TensorDataset(x[:, :10], y[:, :10], x[:, 10:], y[:, 10:])


def build():
    return MAML(), DataLoader(tasks(240, 0), batch_size=8, shuffle=True), DataLoader(tasks(40, 1), batch_size=20)
