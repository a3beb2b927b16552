"""A small conv net with GroupNorm, batch size 4 and plain SGD on generated shapes.

Looks odd: four samples a batch, a very noisy loss. It learns: val accuracy 0.997.
Guards batchnorm-small-batch, noisy-gradient (info only), oscillating-loss.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=3)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, batch_size=3)]


class GroupNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), nn.GroupNorm(4, 16), nn.ReLU(), nn.AdaptiveMaxPool1d(4), nn.Flatten(),
                                 nn.Linear(64, 3))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.5)


def pulses(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    shape = torch.stack([torch.ones(6), torch.linspace(-1.5, 1.5, 6), torch.tensor([1.5, -1, 1.5, -1, 1.5, -1])])
    x = 0.3 * torch.randn(n, 1, 36, generator=g)
    for i, at in enumerate(torch.randint(0, 30, (n,), generator=g).tolist()):
        x[i, 0, at : at + 6] += shape[y[i]]
    return TensorDataset(x, y)


def build(batch_size=4):
    return GroupNet(), DataLoader(pulses(900, 0), batch_size=batch_size, shuffle=True), DataLoader(pulses(300, 1), batch_size=300)
