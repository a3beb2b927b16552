"""Fine-tuning-style linear decay to zero on a bag-of-words classifier.

Fault: total_iters is the number of batches of one epoch, the run has ten: from the second epoch on the learning rate is 0.
Symptom: val loss 1.529 after ten epochs; with the decay over the whole run 0.120.
Source: huggingface/transformers questions on num_training_steps without the epochs; gradsnitch (LR <= 1 % of peak before 80 %).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["scheduler-mismatch", "underfitting", "frozen-parameter", "learning-rate-too-low"]
TRAINER = dict(max_epochs=10)


class Words(L.LightningModule):
    def __init__(self, total_steps):
        super().__init__()
        self.total_steps = total_steps
        self.bag = nn.EmbeddingBag(300, 24, mode="mean")
        self.fc = nn.Linear(24, 5)

    def forward(self, words):
        return self.fc(torch.relu(self.bag(words)))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch["words"]), batch["topic"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch["words"])
        self.log("val_loss", nn.functional.cross_entropy(out, batch["topic"]))
        self.log("val_acc", (out.argmax(1) == batch["topic"]).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=self.total_steps)
        return [optimizer], [{"scheduler": decay, "interval": "step"}]


def texts(n, seed):
    g = torch.Generator().manual_seed(seed)
    topic = torch.randint(0, 5, (n,), generator=g)
    own = topic[:, None] * 20 + torch.randint(0, 20, (n, 12), generator=g)
    words = torch.where(torch.rand(n, 12, generator=g) < 0.35, own, torch.randint(100, 300, (n, 12), generator=g))
    return [{"words": w, "topic": t} for w, t in zip(words, topic)]


def build():
    train = DataLoader(texts(1500, 0), batch_size=50, shuffle=True)
    return Words(total_steps=len(train)), train, DataLoader(texts(300, 1), batch_size=300)
