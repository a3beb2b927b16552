"""Fine-tuning of a small convolutional network: backbone and head are both meant to learn.

Fault: configure_optimizers passes self.head.parameters() although nothing is frozen; the backbone keeps its random weights.
Symptom: val accuracy 0.377; with self.parameters() 0.983.
Source: facebookresearch/mmf#104 (parameters not in the optimizer); torchtest2's optimizer_coverage.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["missing-from-optimizer"]
TRAINER = dict(max_epochs=8)


class FineTune(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.AdaptiveMaxPool2d(1))
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.backbone(x).flatten(1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self(x)
        self.log_dict({"val_loss": nn.functional.cross_entropy(out, y), "val_acc": (out.argmax(1) == y).float().mean()})

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), lr=1e-2)


def bars(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    image = 0.3 * torch.randn(n, 1, 12, 12, generator=g)
    for i in range(n):
        a, b = torch.randint(3, 9, (2,), generator=g).tolist()
        for k in range(-2, 3):
            image[i, 0, a + (k if y[i] in (1, 2, 3) else 0), b + (k if y[i] in (0, 2) else -k if y[i] == 3 else 0)] += 1.5
    return TensorDataset(image, y)


def build():
    return FineTune(), DataLoader(bars(1000, 0), batch_size=40, shuffle=True), DataLoader(bars(300, 1), batch_size=300)
