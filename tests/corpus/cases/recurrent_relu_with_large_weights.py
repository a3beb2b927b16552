"""Running-sum regression over 40 steps with a plain ReLU RNN.

Fault: the recurrent matrix is drawn orthogonal with gain 2 (the value for tanh is 5/3, but the unit is ReLU without bound): the state
and its gradient grow by up to 2 a step.
Symptom: gradient norms of 1e6 and more, val loss 9.05e+03; with the identity as in Le et al. 0.055.
Source: Pascanu et al. 2013; Le et al. 2015 (IRNN); AUTOTRAINER's exploding-gradient models.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["exploding-gradient", "poor-initialization", "initial-loss", "non-finite", "diverging-loss", "loss-not-decreasing"]
TRAINER = dict(max_epochs=6)


class Adder(L.LightningModule):
    def __init__(self, hidden=24):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=2.0)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def sums(n, seed, steps=40):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, steps, 2, generator=g)
    return TensorDataset(x, x[:, :, :1].sum(1) / steps**0.5)


def build():
    return Adder(), DataLoader(sums(1000, 0), batch_size=50, shuffle=True), DataLoader(sums(300, 1), batch_size=300)
