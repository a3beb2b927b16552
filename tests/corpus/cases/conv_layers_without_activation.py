"""Same-or-different task: are two bars in a small image parallel? A "deep" CNN of convolutions and average pooling.

Fault: there is no activation between the convolutions and average pooling is linear: the whole network is one linear map.
Symptom: val accuracy 0.550, train loss 0.689; with ReLUs 1.000 and 0.000.
Source: DeepCrime operator ARM; NeuraLint's missing-activation rule; TheDeepChecker.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["missing-nonlinearity", "underfitting", "loss-not-decreasing", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=8)


class Parallel(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(32 * 8, 32), nn.Linear(32, 2),
        )

    def forward(self, image):
        return self.net(image)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def bars(n, seed):
    g = torch.Generator().manual_seed(seed)
    image, turn = 0.2 * torch.randn(n, 1, 8, 16, generator=g), torch.randint(0, 2, (n, 2), generator=g)
    for side in (0, 1):
        k = torch.randint(1, 7, (n,), generator=g)
        for i in range(n):
            if turn[i, side]:
                image[i, 0, k[i], 8 * side : 8 * side + 8] += 1
            else:
                image[i, 0, :, 8 * side + k[i]] += 1
    return TensorDataset(image, (turn[:, 0] == turn[:, 1]).long())


def build():
    return Parallel(), DataLoader(bars(1200, 0), batch_size=40, shuffle=True), DataLoader(bars(300, 1), batch_size=300)
