"""Manual optimisation: encoder and head have an optimizer each and take turns; schedulers are stepped by hand at the end of the epoch.

Looks odd: half of the parameters change on even batches only, the others on odd ones; two steps counted for two batches.
It learns: val loss 0.053 (variance 1).
Guards missing-zero-grad, frozen-parameter, scheduler-mismatch, no-gradient.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_loss", "<", 0.15)
VARIANTS = [dict(), dict(seed=1, lr=1e-2)]


class Alternating(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.automatic_optimization = False
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh())
        self.head = nn.Linear(16, 1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.head(self.encoder(batch[0])), batch[1])
        optimizer = self.optimizers()[batch_idx % 2]
        self.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def on_train_epoch_end(self):
        for schedule in self.lr_schedulers():
            schedule.step()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.head(self.encoder(batch[0])), batch[1]))

    def configure_optimizers(self):
        pair = [torch.optim.Adam(self.encoder.parameters(), lr=self.lr), torch.optim.Adam(self.head.parameters(), lr=self.lr)]
        return pair, [torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for o in pair]


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    return TensorDataset(x, (x[:, :1] + torch.sin(2 * x[:, 1:2]) + 0.5 * x[:, 2:3]) / 1.35 + 0.1 * torch.randn(n, 1, generator=g))


def build(lr=6e-3):
    return Alternating(lr), DataLoader(data(1500, 0), batch_size=30, shuffle=True), DataLoader(data(400, 1), batch_size=400)
