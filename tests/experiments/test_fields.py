from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.fields import exchanged, padding, swap_fields
from diagnose.experiments.probing import gather
from diagnose.record import Record
from diagnose.rules import diagnose
from tests.experiments.odd import Classifier, sandboxed

ROWS, TIME = 16, 8


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Padded tokens, numbers of no meaning and labels."""
    torch.manual_seed(0)
    tokens = torch.randint(1, 20, (ROWS, TIME))
    tokens[torch.arange(TIME)[None] >= torch.randint(2, TIME + 1, (ROWS, 1))] = 0
    return tokens, torch.randn(ROWS, 3), torch.randint(0, 3, (ROWS,))


class Reader(Classifier):
    """Words that are pooled with a mask, and numbers of their own."""

    hidden = False  # the words
    gate = 1.0  # of the numbers

    def __init__(self) -> None:
        super().__init__(nn.Linear(16, 3))
        self.embed, self.numbers = nn.Embedding(20, 8), nn.Linear(3, 8)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens, numbers, label = batch
        left_out = tokens != 0 if self.hidden else tokens == 0
        weight = torch.zeros(tokens.shape).masked_fill(left_out, -1e9).softmax(1)
        words = (weight[:, :, None] * self.embed(tokens)).sum(1)
        return F.cross_entropy(self.net(torch.cat([words, self.gate_now() * self.numbers(numbers)], 1)), label)

    def gate_now(self) -> float:
        return self.gate


class Hidden(Reader):
    hidden = True


class Closed(Reader):
    gate = 0.0


class OpensLater(Reader):
    def gate_now(self) -> float:
        return min(1.0, self.current_epoch / 10)


class OpensByChance(Reader):
    def gate_now(self) -> float:
        return float(torch.rand(()) < 0.5)


class Joined(Reader):
    """The numbers go through the whole network beside the words, for a term that weighs nothing yet."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens, numbers, label = batch
        words, others = self.net(torch.cat([self.embed(tokens).mean(1), self.numbers(numbers)]).repeat(1, 2)).chunk(2)
        loss: Tensor = F.cross_entropy(words, label) + 0.0 * others.tanh().sum()
        return loss


class OnlyLogged(Reader):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        tokens, numbers, label = batch
        self.log("numbers", self.numbers(numbers).mean())
        return F.cross_entropy(self.net(self.embed(tokens).mean(1).repeat(1, 2)), label)


def entries(module: Any) -> dict[str, Any]:
    train = DataLoader(TensorDataset(*batch()), ROWS)
    record = sandboxed(module, train, lambda sandbox, record: swap_fields(sandbox, record))
    return {entry["path"]: entry for entry in record.facts["probe.fields"]}


def test_fields_that_are_heard() -> None:
    seen = entries(Reader())
    assert set(seen) == {"batch[0]", "batch[1]"}
    assert min(entry["change"] for entry in seen.values()) > 0.1
    assert "read_by" not in seen["batch[0]"]
    assert (seen["batch[0]"]["padded"], seen["batch[1]"]["padded"]) == (True, False)


def test_a_mask_that_keeps_the_padding() -> None:
    seen = entries(Hidden())
    assert (seen["batch[0]"]["change"], seen["batch[0]"]["read_by"], seen["batch[0]"]["until"]) == (0.0, "embed", "embed")
    assert seen["batch[0]"]["samples"] < ROWS  # rows without padding stay as they are
    assert seen["batch[1]"]["change"] > 0.1


def test_a_branch_that_is_taken_away() -> None:
    seen = entries(Closed())
    assert (seen["batch[1]"]["change"], seen["batch[1]"]["read_by"]) == (0.0, "numbers")


@pytest.mark.parametrize("kind", [OpensLater, OpensByChance, Joined, OnlyLogged])
def test_fields_that_are_meant_for_something_else(kind: type[Reader]) -> None:
    torch.manual_seed(1)
    seen = entries(kind())["batch[1]"]
    assert seen["change"] > 0 or seen["read_by"] is None


def test_a_gate_that_starts_at_zero_is_looked_at_again() -> None:
    class Gated(Reader):
        def __init__(self) -> None:
            super().__init__()
            self.open = nn.Parameter(torch.zeros(()))

        def gate_now(self) -> Any:
            return self.open.tanh()

    assert entries(Gated())["batch[1]"]["read_by"] == "numbers"
    train = DataLoader(TensorDataset(*batch()), ROWS)
    record = Record()
    gather(record, Gated(), train, None, short=True)
    assert min(entry["change"] for entry in record.facts["probe.fields"]) > 1e-4
    assert "M211" not in {finding.code for finding in diagnose(record).findings}


def test_the_rule_names_the_field() -> None:
    record = Record()
    gather(record, Hidden(), DataLoader(TensorDataset(*batch()), ROWS), None, short=True)
    (finding,) = [finding for finding in diagnose(record).findings if finding.code == "M211"]
    assert "what padding leaves over of batch[0]" in finding.message


def test_padding_at_either_end_stays() -> None:
    tokens = batch()[0]
    for rows in (tokens, tokens.flip(1), tokens.float()[:, :, None].repeat(1, 1, 3)):
        filled = padding(rows)
        assert filled is not None
        zero = rows == 0 if rows.dim() == 2 else (rows == 0).all(2)
        assert torch.equal(filled, zero)
        other, count, padded = exchanged(rows)
        assert padded
        assert count >= 8
        assert torch.equal(other == 0, rows == 0)


def test_what_is_no_padding() -> None:
    tokens = batch()[0]
    assert padding(tokens[tokens[:, -1] != 0]) is None
    assert padding(torch.randint(0, 2, (16, 8))) is None  # a value that is everywhere
    assert padding(torch.eye(8)) is None
    assert padding(torch.cat([tokens[:, :4].clamp(min=1), torch.zeros(ROWS, 2, dtype=torch.long)], 1)) is None  # of one length
    assert padding(torch.randn(16, 3, 8, 8)) is None
    assert padding(torch.zeros(16, 8, dtype=torch.complex64)) is None


def test_without_samples_it_does_not_run() -> None:
    record = sandboxed(Classifier(), DataLoader(TensorDataset(torch.randn(3, 8), torch.zeros(3).long()), 3), lambda s, r: swap_fields(s, r))
    assert "share no batch axis" in record.missing["probe.fields"]
