"""Manual optimisation that accumulates sixteen small batches before a step, for a network that needs large batches.

Fault: the loss is not divided by sixteen, so the accumulated gradient is sixteen times as long as the learning rate was tuned for.
Symptom: val loss NaN, swinging; divided by sixteen 0.084.
Source: PulseML's loss_not_averaged, torch-preflight TG014; huggingface blog 2024 on gradient accumulation.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["accumulation-mismatch", "learning-rate-too-high", "diverging-loss", "oscillating-loss", "exploding-gradient", "loss-not-decreasing",
         "non-finite"]
TRAINER = dict(max_epochs=15)


class BigBatch(L.LightningModule):
    def __init__(self, every=16):
        super().__init__()
        self.automatic_optimization = False
        self.every = every
        self.net = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1))

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.manual_backward(loss)
        if (batch_idx + 1) % self.every == 0:
            optimizer.step()
            optimizer.zero_grad()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def rows(n, seed):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, :1] * x[:, 1:2] + torch.sin(2 * x[:, 2:3])) / 1.2)


def build():
    return BigBatch(), DataLoader(rows(1280, 0), batch_size=8, shuffle=True), DataLoader(rows(300, 1), batch_size=300)
