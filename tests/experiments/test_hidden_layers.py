"""What is kept of hidden layers, where batches differ in shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import diagnose
from diagnose.callbacks import HiddenTSNE
from diagnose.experiments.hidden_layers import Layers
from tests.callbacks.plain_training import QUIET, Net


class Texts(Net):
    """A classifier of tokens, the mean of which it takes at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.head = nn.Embedding(9, 4), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(self.table(x)))).mean(1)  # type: ignore[no-any-return]


def padded(rows: Any) -> tuple[Tensor, Tensor]:
    return pad_sequence([x for x, _ in rows], True), torch.stack([y for _, y in rows])


def texts() -> DataLoader[Any]:
    torch.manual_seed(0)
    rows: Any = [(torch.randint(1, 9, (2 + i // 4,)), torch.tensor(i % 3)) for i in range(48)]
    return DataLoader(rows, batch_size=8, collate_fn=padded)


def test_of_padded_texts_the_mean_over_tokens_is_kept() -> None:
    module, loader = Texts().eval(), texts()
    hidden = Layers(module, ["first"])
    with torch.no_grad():
        for x, _ in loader:
            hidden.attach()
            module(x)
            hidden.detach_hooks()
            hidden.end_batch(len(x))
        expected = [module.first(module.table(x)).mean(1).numpy() for x, _ in loader]
    found = hidden.features()
    assert list(found) == ["first (Linear)"]
    np.testing.assert_allclose(found["first (Linear)"], np.concatenate(expected), rtol=1e-5)
    assert hidden.notes == {}


def test_layers_with_other_axes_in_other_batches_are_left_out_with_the_reason() -> None:
    hidden = Layers(Net(), ["first"])
    for shape in ((4, 5), (4, 2, 5)):
        hidden.seen = {"first (Linear)": torch.zeros(shape)}
        hidden.end_batch(4)
    assert hidden.features() == {}
    assert hidden.notes == {"first (Linear)": "its values have other axes from batch to batch: (2, 5), (5,)"}


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_padded_texts_are_mapped_and_evaluated() -> None:
    module, hidden = Texts(), HiddenTSNE(strict=True)
    trainer = Trainer(**QUIET, max_epochs=1, callbacks=[hidden])
    trainer.fit(module, texts(), texts())
    assert [len(e.rows) for e in hidden.embeddings.values()] == [48]
    facts = diagnose.evaluate(module, texts()).record.facts["embedding"]
    assert [fact["n"] for fact in facts.values()] == [48]
