"""Fine-tuning in two stages: an encoder is frozen for two epochs, then thawed.

Looks odd: most weights are frozen and in no optimizer when training begins. They come to it later, by `add_param_group`, by Lightning's
`BaseFinetuning` or as an optimizer of their own that the step drives by hand; or they were given to it from the start, and waited there.
It learns: val accuracy 0.96 to 0.99.
Guards missing-from-optimizer, frozen-parameter, no-gradient, learning-rate-too-low.
"""
import lightning as L
import torch
from lightning.pytorch.callbacks import BaseFinetuning
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=7)
REACHES = ("val_acc", ">", 0.92)
VARIANTS = [dict(), dict(seed=1, way="callback"), dict(seed=2, way="waiting"), dict(seed=3, way="own")]


class Finetuning(BaseFinetuning):
    def freeze_before_training(self, module):
        self.freeze(module.encoder)

    def finetune_function(self, module, epoch, optimizer):
        if epoch == 2:
            self.unfreeze_and_add_param_group(module.encoder, optimizer, lr=3e-3)


class FineTuner(L.LightningModule):
    def __init__(self, way):
        super().__init__()
        self.way = way
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(128, 10)
        if way != "callback":
            self.encoder.requires_grad_(False)

    def configure_callbacks(self):
        return [Finetuning()] if self.way == "callback" else []

    def on_train_epoch_start(self):
        if self.current_epoch == 2 and self.way != "callback":
            self.encoder.requires_grad_(True)
            if self.way == "group":
                self.optimizers().add_param_group({"params": list(self.encoder.parameters()), "lr": 3e-3})
            if self.way == "own":
                self.own = torch.optim.Adam(self.encoder.parameters(), lr=3e-3)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.way == "own" and self.current_epoch >= 2:
            self.own.step()
            self.own.zero_grad()

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self.head(self.encoder(batch[0])), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.head(self.encoder(batch[0]))
        self.log("val_loss", F.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad or self.way == "waiting"], lr=5e-3)


def build(way="group"):
    d = load_digits()
    x, y = torch.tensor(d.images / 16).float()[:, None], torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return (FineTuner(way), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
