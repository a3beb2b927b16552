"""Six survey answers on a scale of 1 to 3 (centred), so many rows are equal, some with different outcomes, and rows repeat in validation.

Looks odd: a good part of the validation rows occurs in training, identical inputs carry different labels; both by chance.
It learns: val accuracy 0.753 (the labels are random in part).
Guards split-overlap, conflicting-labels, underfitting.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=8)
REACHES = ("val_acc", ">", 0.73)
VARIANTS = [dict(), dict(seed=1, questions=7), dict(seed=2, n=900)]


class Survey(L.LightningModule):
    def __init__(self, questions):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(questions, 24), nn.ReLU(), nn.Linear(24, 1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(out, batch[1]))
        self.log("val_acc", ((out > 0) == (batch[1] > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build(questions=6, n=1600):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(-1, 2, (n, questions), generator=g).float()
    yes = torch.rand(n, generator=g) < torch.sigmoid(1.6 * (x[:, 0] + x[:, 1] + x[:, 2] * x[:, 3]) + 0.2)
    data = TensorDataset(x, yes.float()[:, None])
    train, val = torch.utils.data.random_split(data, [n - 300, 300], generator=g)
    return Survey(questions), DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=300)
