"""Classification of padded sentences by a transformer encoder with a class token in front.

Fault: the loader's mask is True at words, src_key_padding_mask wants True at padding: the class token attends to itself and the padding.
Symptom: the number of padded places is all that is told apart, val accuracy 0.220; with the mask inverted 0.967.
Source: pytorch forums and issues on key_padding_mask against the attention_mask of tokenizers.
"""
import lightning as L
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

RULES = ["input-independent", "cannot-overfit-batch", "misaligned-labels", "loss-not-decreasing", "prediction-collapse"]
TRAINER = dict(max_epochs=5)


class Reader(L.LightningModule):
    def __init__(self, vocabulary=120, dim=32):
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.token = nn.Parameter(torch.randn(1, 1, dim) * 0.1)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(dim, 4)

    def forward(self, words, mask):
        x = torch.cat([self.token.expand(len(words), -1, -1), self.words(words)], 1)
        mask = nn.functional.pad(mask, (1, 0), value=False)
        return self.head(self.encoder(x, src_key_padding_mask=mask)[:, 0])

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch["words"], batch["mask"]), batch["label"])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["label"]))
        return loss

    def validation_step(self, batch, batch_idx):
        logits = self(batch["words"], batch["mask"])
        self.log("val_acc", (logits.argmax(1) == batch["label"]).float().mean(), batch_size=len(batch["label"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def sentences(n, seed):
    g = torch.Generator().manual_seed(seed)
    for _ in range(n):
        label = int(torch.randint(0, 4, (1,), generator=g))
        length = int(torch.randint(4, 14, (1,), generator=g))
        own = torch.randint(2 + 15 * label, 17 + 15 * label, (length,), generator=g)
        noise = torch.randint(62, 120, (length,), generator=g)
        yield torch.where(torch.rand(length, generator=g) < 0.4, own, noise), label


def collate(rows):
    words, labels = zip(*rows)
    words = pad_sequence(words, batch_first=True)
    return {"words": words, "mask": words != 0, "label": torch.tensor(labels)}


def build():
    return (Reader(), DataLoader(list(sentences(1200, 0)), batch_size=40, shuffle=True, collate_fn=collate),
            DataLoader(list(sentences(300, 1)), batch_size=100, collate_fn=collate))
