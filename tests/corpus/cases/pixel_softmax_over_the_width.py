"""Three-class segmentation with (N, C, H, W) scores, log_softmax and nll_loss.

Fault: log_softmax(dim=-1) normalises over the width of the image, not over the classes.
Symptom: val accuracy 0.793 of the pixels, val loss 2.392; over dim=1 0.874 and 0.288.
Source: pytorch forums ("which dim for softmax in segmentation"); SHP class of published faults.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

RULES = ["wrong-softmax-axis", "activation-loss-mismatch", "initial-loss"]
TRAINER = dict(max_epochs=5)


class Segmenter(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(1, 12, 5, padding=2), nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 3, 1)

    def forward(self, image):
        return F.log_softmax(self.c3(F.relu(self.c2(F.relu(self.c1(image))))), dim=-1)

    def training_step(self, batch, batch_idx):
        loss = F.nll_loss(self(batch["image"]), batch["mask"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch["image"])
        self.log("val_loss", F.nll_loss(out, batch["mask"]))
        self.log("val_acc", (out.argmax(1) == batch["mask"]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def fields(n, seed):
    g = torch.Generator().manual_seed(seed)
    smooth = F.avg_pool2d(torch.randn(n, 1, 20, 20, generator=g), 5, stride=1)
    mask = (smooth[:, 0] > 0.1).long() + (smooth[:, 0] > 0.3).long()
    image = smooth * 4 + 0.4 * torch.randn(n, 1, 16, 16, generator=g)
    return [{"image": i, "mask": m} for i, m in zip(image, mask)]


def build():
    return Segmenter(), DataLoader(fields(400, 0), batch_size=20, shuffle=True), DataLoader(fields(100, 1), batch_size=100)
