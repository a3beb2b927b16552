"""Transfer to new classes: the old head is replaced when training starts.

Fault: the head is replaced in on_train_start, after configure_optimizers has run, so the optimizer holds the old head's weights.
Symptom: val accuracy 0.708; replaced in __init__ 0.877.
Source: pytorch forums (model.fc replaced after the optimizer was built); torchvision fine-tuning questions.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["missing-from-optimizer", "frozen-parameter"]
TRAINER = dict(max_epochs=5)


class Transfer(L.LightningModule):
    def __init__(self, new_classes=10):
        super().__init__()
        self.new_classes = new_classes
        self.trunk = nn.Sequential(nn.Linear(64, 12), nn.ReLU())
        self.fc = nn.Linear(12, 100)

    def on_train_start(self):
        self.fc = nn.Linear(12, self.new_classes).to(self.device)

    def forward(self, x):
        return self.fc(self.trunk(x))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Transfer(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
