"""Shape recognition (square, cross, ring) on 24 x 24 images, cropped to 12 x 12 before the network.

Fault: the crop takes the upper left corner, where there is nothing, so all inputs are the same empty image with different labels.
Symptom: the loss stays at ln 3, val accuracy 0.307; with the centre crop 1.000.
Source: taxonomy of Humbatova et al. (ICSE 2020), "wrong preprocessing: cropping"; StackOverflow 50306988.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

RULES = ["conflicting-labels", "input-independent", "loss-not-decreasing", "cannot-overfit-batch", "prediction-collapse", "misaligned-labels"]
TRAINER = dict(max_epochs=5)


class Shapes(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.label = torch.randint(0, 3, (n,), generator=g)
        r = torch.arange(8) - 3.5
        radius = (r[:, None] ** 2 + r[None] ** 2).sqrt()
        shapes = torch.stack([torch.ones(8, 8), ((r[:, None].abs() < 1) | (r[None].abs() < 1)).float(), (abs(radius - 3) < 0.8).float()])
        self.image = torch.zeros(n, 24, 24)
        self.image[:, 8:16, 8:16] = shapes[self.label] * (0.5 + 0.5 * torch.rand(n, 1, 1, generator=g))

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        crop = self.image[i, :8, :8]
        return crop[None], self.label[i]


class ShapeNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, crop):
        return self.body(crop)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    return ShapeNet(), DataLoader(Shapes(1000, 0), batch_size=40, shuffle=True), DataLoader(Shapes(300, 1), batch_size=300)
