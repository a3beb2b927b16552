"""Loaders that give one batch together, and in which order each of them draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from tests.experiments.tables import CE, XY, classes, facts, loader, table


def single(values: Any, *, seed: int | None = None, shuffle: bool = True) -> DataLoader[Any]:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(values, batch_size=50, shuffle=shuffle, generator=generator)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ({}, {}, True),
        ({}, {"shuffle": False}, True),
        ({"seed": 1}, {"seed": 2}, True),
        ({"seed": 1}, {"seed": 1}, False),
        ({"shuffle": False}, {"shuffle": False}, False),
    ],
)
def test_two_loaders_that_shuffle(one: dict[str, Any], other: dict[str, Any], apart: bool) -> None:
    pair = {"x": single(table(), **one), "y": single(classes(), **other)}
    roles = {'batch["x"]': "input", 'batch["y"]': "target"}
    expected = {"input": 'batch["x"]', "target": 'batch["y"]', "rows": 400, "apart": apart}
    assert facts(CombinedLoader(pair), loss=CE, roles=roles).facts["data.two_loaders"] == expected
    listed = facts(CombinedLoader([pair["x"], pair["y"]]), loss=CE, roles=XY).facts["data.two_loaders"]
    assert (listed["target"], listed["apart"]) == ("batch[1]", apart)


def test_loaders_that_are_not_one_for_inputs_and_one_for_targets() -> None:
    assert "data.two_loaders" not in facts(loader(table(), classes())).facts
    labelled, more = loader(table(), classes(), shuffle=True), single(table())
    roles = {"batch[0][0]": "input", "batch[0][1]": "target", "batch[1]": "input"}
    assert "data.two_loaders" not in facts(CombinedLoader([labelled, more]), roles=roles).facts
    shorter = CombinedLoader([single(table()), single(classes(300))], mode="min_size")
    assert "data.two_loaders" not in facts(shorter, roles=XY).facts
