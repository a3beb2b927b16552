"""Click prediction from two categorical fields; one embedding table per field, kept in a dict.

Fault: a plain dict hides the tables from the module, so they are in no optimizer (nn.ModuleDict was meant).
Symptom: val accuracy 0.514; with nn.ModuleDict 0.882.
Source: pytorch/pytorch#715 (silently unregistered sub-modules), pytorch forums (dict of layers).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

RULES = ["missing-from-optimizer", "frozen-parameter"]
TRAINER = dict(max_epochs=8)
FIELDS = {"user": 60, "item": 40}


class Clicks(Dataset):
    def __init__(self, n, seed):
        hidden = {k: torch.randn(size, 2, generator=torch.Generator().manual_seed(size)) for k, size in FIELDS.items()}
        g = torch.Generator().manual_seed(seed)
        self.ids = {k: torch.randint(0, size, (n,), generator=g) for k, size in FIELDS.items()}
        self.click = ((hidden["user"][self.ids["user"]] * hidden["item"][self.ids["item"]]).sum(1) > 0).float()

    def __len__(self):
        return len(self.click)

    def __getitem__(self, i):
        return {**{k: v[i] for k, v in self.ids.items()}, "click": self.click[i]}


class ClickModel(L.LightningModule):
    def __init__(self, dim=4):
        super().__init__()
        self.tables = {k: nn.Embedding(size, dim) for k, size in FIELDS.items()}
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, row):
        vectors = [self.tables[k](row[k]) for k in FIELDS]
        return self.mlp(torch.cat(vectors, -1)).squeeze(-1)

    def training_step(self, row, batch_idx):
        loss = nn.functional.binary_cross_entropy_with_logits(self(row), row["click"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, row, batch_idx):
        score = self(row)
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(score, row["click"]))
        self.log("val_acc", ((score > 0) == (row["click"] > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def build():
    return ClickModel(), DataLoader(Clicks(2500, 0), batch_size=50, shuffle=True), DataLoader(Clicks(500, 1), batch_size=500)
