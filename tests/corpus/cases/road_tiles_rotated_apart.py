"""Finds roads in aerial tiles, pixel by pixel, with a small convolutional network.

Fault: the transform draws a rotation and a flip whenever it is called, and it is called once for the tile and once for its mask.
Symptom: validation IoU of the roads is 0 after 8 epochs, with one draw for both it is 0.97.
Source: Project-MONAI/MONAI#1102; albumentations-team/albumentations#1056 (random transforms given to image and mask one after the other).
"""

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

RULES = ["misaligned-labels"]
TRAINER = {"max_epochs": 8}
SIDE = 32


def tile(generator):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.long)
    row, slope, width = (torch.rand(3, generator=generator) * torch.tensor([14.0, 0.8, 3.0])).tolist()
    columns = torch.arange(SIDE)
    middle = 3 + row + slope * columns
    mask[(torch.arange(SIDE)[:, None] - middle).abs() < 1.5 + width / 2] = 1
    ground = torch.tensor([0.35, 0.45, 0.3])[:, None, None] + 0.08 * torch.rand(3, 1, 1, generator=generator)
    road = torch.tensor([0.55, 0.55, 0.58])[:, None, None]
    image = torch.where(mask.bool(), road, ground) + 0.08 * torch.randn(3, SIDE, SIDE, generator=generator)
    return (image - 0.45) / 0.15, mask


def rotate(part, turns=None):
    turns = torch.randint(0, 4, (2,)).tolist() if turns is None else turns
    part = part.rot90(turns[0], (-2, -1))
    return part.flip(-1) if turns[1] % 2 else part


class Tiles(Dataset):
    def __init__(self, count, seed, augment=False):
        generator = torch.Generator().manual_seed(seed)
        self.tiles = [tile(generator) for _ in range(count)]
        self.augment = augment

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, index):
        image, mask = self.tiles[index]
        if self.augment:
            image, mask = rotate(image), rotate(mask)
        return {"image": image, "mask": mask}


class Roads(L.LightningModule):
    def __init__(self, width=12):
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            nn.Conv2d(width, 2, 1),
        )

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch["image"]), batch["mask"])

    def validation_step(self, batch, batch_idx):
        scores = self.net(batch["image"])
        road, truth = scores.argmax(1) == 1, batch["mask"] == 1
        self.log("val_loss", F.cross_entropy(scores, batch["mask"]))
        self.log("val_iou", (road & truth).sum() / (road | truth).sum())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    train = DataLoader(Tiles(256, 0, augment=True), batch_size=16, shuffle=True)
    return Roads(), train, DataLoader(Tiles(64, 1), batch_size=64)
