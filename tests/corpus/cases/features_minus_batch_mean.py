"""Dose prediction from lab values; hidden features are centred "for stability" by subtracting their mean.

Fault: the mean is taken over the batch axis in the model's own code, in training and validation: an answer depends on who else is in
the batch. One patient at a time always gets the same answer.
Symptom: val loss 0.455 in batches of 2; with a LayerNorm in its place 0.035.
Source: Karpathy's recipe (dependency on other samples by gradient); bolts' BatchGradientVerification.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["sample-leakage"]
TRAINER = dict(max_epochs=8)


class Dose(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(7, 48), nn.Linear(48, 1)
        self.norm = nn.Identity()

    def forward(self, labs):
        h = self.fc1(labs)
        h = h - h.mean(dim=0, keepdim=True)
        return self.fc2(torch.relu(self.norm(h))).squeeze(-1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.smooth_l1_loss(self(batch["labs"]), batch["dose"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.smooth_l1_loss(self(batch["labs"]), batch["dose"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def patients(n, seed):
    labs = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed))
    dose = labs[:, 0] + 0.6 * labs[:, 1] * labs[:, 2]
    return [{"labs": a, "dose": b} for a, b in zip(labs, dose)]


def build():
    return Dose(), DataLoader(patients(1500, 0), batch_size=50, shuffle=True), DataLoader(patients(100, 1), batch_size=2)
