"""A classifier that keeps torch's AveragedModel (exponential) beside itself and validates with the average.

Looks odd: every parameter exists twice; the copies require gradients, are in no optimizer, never run in training_step, and change by
themselves. It learns: val accuracy of the average 0.979.
Guards missing-from-optimizer, no-gradient, frozen-parameter.
"""
import lightning as L
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset, random_split

RULES = []
TRAINER = dict(max_epochs=25)
REACHES = ("val_acc", ">", 0.9)
VARIANTS = [dict(), dict(seed=1, decay=0.95)]


class Averaged(L.LightningModule):
    def __init__(self, decay):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.average.update_parameters(self.net)

    def validation_step(self, batch, batch_idx):
        out = self.average(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=3e-3)


def build(decay=0.9):
    x, y = load_wine(return_X_y=True)
    data = TensorDataset(torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y))
    train, val = random_split(data, [130, 48], generator=torch.Generator().manual_seed(2))
    return Averaged(decay), DataLoader(train, batch_size=13, shuffle=True), DataLoader(val, batch_size=48)
