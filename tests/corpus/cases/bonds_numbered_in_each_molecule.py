"""Whether the two kinds of atoms of small molecules tend to be bonded to each other, from lists of atoms, bonds and sizes put together.

Fault: the bonds keep the numbers that their atoms have in their own molecule, so all bonds of a batch join atoms of its first molecule.
Symptom: val accuracy 0.48 (chance), val loss 0.73; with the numbers shifted 1.00 and 0.001.
Source: PyTorch Geometric's documentation of mini-batches, where indices of nodes must grow with each graph.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["sample-leakage", "misaligned-labels", "overfitting", "below-baseline", "loss-not-decreasing"]
TRAINER = dict(max_epochs=8)


def molecules(n, seed):
    made, out = torch.Generator().manual_seed(seed), []
    for _ in range(n):
        size = int(torch.randint(8, 15, (1,), generator=made))
        kind, mixed = torch.arange(size) % 2, int(torch.rand(1, generator=made) < 0.5)
        pairs = torch.combinations(torch.arange(size))
        likely = (kind[pairs[:, 0]] != kind[pairs[:, 1]]).float()
        bonds = pairs[torch.rand(len(pairs), generator=made) < (0.05 + 0.5 * (likely if mixed else 1 - likely))]
        atoms = torch.stack([kind * 2.0 - 1, torch.randn(size, generator=made)], 1)
        out.append((atoms, bonds, mixed))
    return out


def together(items):
    sizes = torch.tensor([len(atoms) for atoms, _, _ in items])
    bonds = torch.cat([bonds for _, bonds, _ in items])
    return torch.cat([atoms for atoms, _, _ in items]), bonds, sizes, torch.tensor([mixed for _, _, mixed in items])


class Molecules(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 32), nn.Linear(64, 32), nn.Linear(32, 2)

    @staticmethod
    def beside(x, bonds):
        a, b = bonds.T
        return torch.cat([x, torch.zeros_like(x).index_add(0, a, x[b]).index_add(0, b, x[a]) / 4], 1)

    def forward(self, atoms, bonds, sizes):
        x = self.first(self.beside(atoms, bonds)).relu()
        x = self.second(self.beside(x, bonds)).relu()
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        return self.head(torch.zeros(len(sizes), 32).index_add(0, owner, x) / sizes[:, None])

    def training_step(self, batch, batch_idx):
        *molecule, mixed = batch
        return nn.functional.cross_entropy(self(*molecule), mixed)

    def validation_step(self, batch, batch_idx):
        *molecule, mixed = batch
        scores = self(*molecule)
        self.log("val_loss", nn.functional.cross_entropy(scores, mixed), batch_size=len(mixed))
        self.log("val_acc", (scores.argmax(1) == mixed).float().mean(), batch_size=len(mixed))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    return (Molecules(), DataLoader(molecules(960, 0), batch_size=32, shuffle=True, collate_fn=together),
            DataLoader(molecules(300, 1), batch_size=100, collate_fn=together))
