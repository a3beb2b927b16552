"""Which layer mixes the samples of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.experiments.anatomy import examine
from diagnose.experiments.dependence import swap_samples
from diagnose.experiments.sandbox import Sandbox
from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.input_independent import InputIndependent
from diagnose.rules.sample_leakage import SampleLeakage
from tests.experiments.odd import Classifier, loaders, sandboxed


class Reader(Classifier):
    """Attends over words and answers by a class token before them."""

    def __init__(self, over_the_batch: bool, constant: bool = False) -> None:
        super().__init__()
        self.embed, self.token, self.constant = nn.Embedding(9, 8), nn.Parameter(torch.randn(1, 1, 8)), constant
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=not over_the_batch)
        self.head = nn.Linear(8, 2)

    def forward(self, words: Tensor) -> Tensor:
        x = self.encoder(torch.cat([self.token.expand(len(words), -1, -1), self.embed(words)], 1))
        scores: Tensor = self.head(torch.ones_like(x[:, 0]) if self.constant else x[:, 0])
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])


def swapped(module: Reader) -> Record:
    def use(sandbox: Sandbox, record: Record) -> None:
        examine(sandbox, record)
        swap_samples(sandbox, record)

    words = torch.randint(0, 9, (64, 6), generator=torch.Generator().manual_seed(0))
    return sandboxed(module, loaders(words, words[:, 0] % 2)[0], use)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_an_attention_over_the_batch_leaves_the_class_token_alone() -> None:
    record = swapped(Reader(over_the_batch=True))
    assert record.facts["probe.dependence"]["swapped"] <= 1e-6
    (finding,) = run(SampleLeakage(), record).findings
    assert finding.where.startswith("encoder")
    assert "changes when only other samples of the batch change, and in the end the outputs depend on no sample at all" in finding.message
    assert f"the order of the axes of what self.{finding.where} gets" in finding.fix


def test_a_network_that_mixes_nothing_and_answers_always_alike() -> None:
    record = swapped(Reader(over_the_batch=False, constant=True))
    assert record.facts["probe.dependence"]["mixed_by"] == ""
    assert run(SampleLeakage(), record).findings == ()
    assert run(InputIndependent(), record).findings


def test_a_network_that_reads_its_own_words() -> None:
    assert "mixed_by" not in swapped(Reader(over_the_batch=False)).facts["probe.dependence"]
