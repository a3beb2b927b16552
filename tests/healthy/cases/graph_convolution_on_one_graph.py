"""Node classification on a single graph (150 nodes) with two graph convolutions; train and validation are masks of the same graph.

Looks odd: one batch an epoch that is the whole graph, the same one in training and validation, and a node's output depends on its
neighbours. It learns: val accuracy 0.961.
Guards sample-leakage, split-overlap, unshuffled-train, invalid-target.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=40)
REACHES = ("val_acc", ">", 0.8)
VARIANTS = [dict(), dict(seed=1, hidden=32)]


class GCN(L.LightningModule):
    def __init__(self, hidden):
        super().__init__()
        self.first, self.second = nn.Linear(8, hidden), nn.Linear(hidden, 3)

    def forward(self, graph):
        h = torch.relu(graph["adjacency"] @ self.first(graph["x"]))
        return graph["adjacency"] @ self.second(h)

    def training_step(self, graph, batch_idx):
        out = self(graph)[graph["train"]]
        loss = nn.functional.cross_entropy(out, graph["y"][graph["train"]])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(out))
        return loss

    def validation_step(self, graph, batch_idx):
        out, y = self(graph)[~graph["train"]], graph["y"][~graph["train"]]
        self.log("val_loss", nn.functional.cross_entropy(out, y), batch_size=len(out))
        self.log("val_acc", (out.argmax(1) == y).float().mean(), batch_size=len(out))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-2, weight_decay=5e-4)


def build(hidden=16, nodes=150):
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (nodes,), generator=g)
    chance = torch.where(y[:, None] == y[None], 0.08, 0.01)
    edges = torch.triu(torch.rand(nodes, nodes, generator=g) < chance, 1)
    a = (edges | edges.T).float() + torch.eye(nodes)
    d = a.sum(1).rsqrt()
    x = torch.randn(3, 8, generator=g)[y] + 1.5 * torch.randn(nodes, 8, generator=g)
    graph = {"x": x, "y": y, "adjacency": d[:, None] * a * d[None], "train": torch.rand(nodes, generator=g) < 0.5}
    load = lambda: DataLoader([graph], batch_size=None)
    return GCN(hidden), load(), load()
